package stream

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// fill reads data of the stream, and takes the frames in between.
func (s *Stream) fill(p []byte) error {
	for len(p) > 0 {
		for s.rest == 0 {
			if err := s.frame(); err != nil {
				return err
			}
		}
		n := min(len(p), s.rest)
		if s.from < s.to {
			n = copy(p[:n], s.buffer[s.from:s.to])
			s.from += n
		} else {
			var err error
			if n, err = s.read(p[:n]); n == 0 && err != nil {
				return err
			}
		}
		s.rest, p = s.rest-n, p[n:]
	}
	return nil
}

// read reads from the connection, once all is sent that is to be sent.
func (s *Stream) read(p []byte) (int, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	return s.conn.Read(p)
}

// next returns the next n bytes, which are valid until it is called again.
func (s *Stream) next(n int) ([]byte, error) {
	if n > len(s.buffer)-s.from && s.from > 0 {
		s.to = copy(s.buffer, s.buffer[s.from:s.to])
		s.from = 0
	}
	if n > len(s.buffer) {
		grown := make([]byte, n)
		copy(grown, s.buffer[:s.to])
		s.buffer = grown
	}
	for s.to-s.from < n {
		if s.from == s.to {
			s.from, s.to = 0, 0
		}
		k, err := s.read(s.buffer[s.to:])
		if s.to += k; k == 0 && err != nil {
			return nil, err
		}
	}
	s.from += n
	return s.buffer[s.from-n : s.from], nil
}

// frame takes one frame; of one with data, the head alone.
func (s *Stream) frame() error {
	if s.padding > 0 {
		n := s.padding
		s.padding = 0
		if _, err := s.next(n); err != nil {
			return err
		}
	}
	if s.ended {
		return s.end()
	}
	head, err := s.next(frameHead)
	if err != nil {
		return s.broken(err)
	}
	size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	kind, flags, id := http2.FrameType(head[3]), http2.Flags(head[4]), binary.BigEndian.Uint32(head[5:])&streamIDBits
	if size > maxFrame {
		return fmt.Errorf("a %v frame of %d bytes", kind, size)
	}
	if s.inHeaders && kind != http2.FrameContinuation {
		return fmt.Errorf("a %v frame within headers", kind)
	}
	if kind == http2.FrameData {
		return s.data(size, flags, id)
	}
	payload, err := s.next(size)
	if err != nil {
		return s.broken(err)
	}
	return s.control(kind, flags, id, payload)
}

// broken is why the connection ended, where the server has said so.
func (s *Stream) broken(err error) error {
	if s.away != "" {
		return fmt.Errorf("%w, after %s", err, s.away)
	}
	return err
}

// data begins a DATA frame. Its bytes are given back at once, since whoever reads takes them at once.
func (s *Stream) data(size int, flags http2.Flags, id uint32) error {
	if id != streamID {
		return fmt.Errorf("data of stream %d", id)
	}
	if s.taken += size; s.taken >= s.dialer.Window/2 {
		s.credit(0, s.taken)
		s.credit(streamID, s.taken)
		s.taken = 0
	}
	if flags.Has(http2.FlagDataPadded) {
		length, err := s.next(1)
		if err != nil {
			return err
		}
		s.padding = int(length[0])
		if size -= 1 + s.padding; size < 0 {
			return fmt.Errorf("data with %d bytes of padding too many", -size)
		}
	}
	s.rest, s.ended = size, flags.Has(http2.FlagDataEndStream)
	return nil
}

// control takes a frame without data. Kinds that are not known are to be ignored (RFC 9113 section 4.1).
func (s *Stream) control(kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) error {
	switch kind {
	case http2.FrameHeaders, http2.FrameContinuation:
		return s.header(kind, flags, id, payload)
	case http2.FrameSettings:
		return s.settings(flags, payload)
	case http2.FrameWindowUpdate:
		return s.opened(id, payload)
	case http2.FramePing:
		if len(payload) != 8 {
			return fmt.Errorf("a PING frame of %d bytes", len(payload))
		}
		if !flags.Has(http2.FlagPingAck) {
			s.head(len(payload), http2.FramePing, http2.FlagPingAck, 0)
			s.out = append(s.out, payload...)
		}
	case http2.FrameRSTStream:
		if len(payload) != 4 {
			return fmt.Errorf("a RST_STREAM frame of %d bytes", len(payload))
		}
		return fmt.Errorf("the stream was reset: %v", http2.ErrCode(binary.BigEndian.Uint32(payload)))
	case http2.FrameGoAway:
		if len(payload) < 8 {
			return fmt.Errorf("a GOAWAY frame of %d bytes", len(payload))
		}
		s.away = fmt.Sprintf("GOAWAY %v %q", http2.ErrCode(binary.BigEndian.Uint32(payload[4:])), payload[8:])
		if binary.BigEndian.Uint32(payload)&streamIDBits < streamID { // otherwise the server serves the stream to its end
			return fmt.Errorf("the stream was not taken: %s", s.away)
		}
	case http2.FramePushPromise:
		return fmt.Errorf("a PUSH_PROMISE frame")
	}
	return nil
}

// settings applies the server's.
func (s *Stream) settings(flags http2.Flags, payload []byte) error {
	if flags.Has(http2.FlagSettingsAck) {
		return nil
	}
	if len(payload)%6 != 0 {
		return fmt.Errorf("a SETTINGS frame of %d bytes", len(payload))
	}
	for ; len(payload) > 0; payload = payload[6:] {
		id, value := http2.SettingID(binary.BigEndian.Uint16(payload)), binary.BigEndian.Uint32(payload[2:])
		if err := (http2.Setting{ID: id, Val: value}).Valid(); err != nil {
			return err
		}
		switch id {
		case http2.SettingInitialWindowSize:
			s.streamRoom += int(value) - s.initialRoom
			s.initialRoom = int(value)
		case http2.SettingMaxFrameSize:
			s.maxSendFrame = int(value)
		}
	}
	s.head(0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	s.fit()
	return nil
}

// opened adds to a window of the server's.
func (s *Stream) opened(id uint32, payload []byte) error {
	if len(payload) != 4 {
		return fmt.Errorf("a WINDOW_UPDATE frame of %d bytes", len(payload))
	}
	n := int(binary.BigEndian.Uint32(payload) & maxWindow)
	switch id {
	case 0:
		s.room += n
	case streamID:
		s.streamRoom += n
	}
	if n == 0 || s.room > maxWindow || s.streamRoom > maxWindow {
		return fmt.Errorf("a window of %d and %d bytes", s.room, s.streamRoom)
	}
	s.fit()
	return nil
}

// header takes a part of a header block.
func (s *Stream) header(kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) error {
	if id != streamID || (kind == http2.FrameContinuation) != s.inHeaders {
		return fmt.Errorf("a %v frame of stream %d", kind, id)
	}
	if kind == http2.FrameHeaders {
		var err error
		if payload, err = unpadded(flags, payload); err != nil {
			return err
		}
		s.headers, s.lastHeaders = s.headers[:0], flags.Has(http2.FlagHeadersEndStream)
	}
	s.headers = append(s.headers, payload...)
	if s.inHeaders = !flags.Has(http2.FlagHeadersEndHeaders); s.inHeaders { // the same bit in both kinds
		return nil
	}
	if _, err := s.decoder.Write(s.headers); err != nil {
		return fmt.Errorf("decoding headers: %w", err)
	}
	if err := s.decoder.Close(); err != nil {
		return fmt.Errorf("decoding headers: %w", err)
	}
	s.ended = s.lastHeaders
	if s.trailers.http != "200" {
		return fmt.Errorf("HTTP status %q", s.trailers.http)
	}
	return nil
}

// unpadded is a block fragment without padding and priority.
func unpadded(flags http2.Flags, payload []byte) ([]byte, error) {
	before, after := 0, 0
	if flags.Has(http2.FlagHeadersPadded) && len(payload) > 0 {
		before, after = 1, int(payload[0])
	}
	if flags.Has(http2.FlagHeadersPriority) {
		before += 5
	}
	if before+after > len(payload) {
		return nil, fmt.Errorf("a HEADERS frame of %d bytes with %d besides its block", len(payload), before+after)
	}
	return payload[before : len(payload)-after], nil
}

// field notes what matters of a header.
func (s *Stream) field(f hpack.HeaderField) {
	switch f.Name {
	case ":status":
		s.trailers.http = f.Value
	case "grpc-status":
		s.trailers.grpc = f.Value
	case "grpc-message":
		s.trailers.message = f.Value
	}
}

// end is how the call has ended.
func (s *Stream) end() error {
	if s.trailers.grpc == "0" {
		return io.EOF
	}
	return fmt.Errorf("gRPC status %q: %s", s.trailers.grpc, s.trailers.message)
}
