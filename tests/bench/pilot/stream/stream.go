// Package stream is a client's end of one gRPC stream over HTTP/2 that costs little: what plays a thousand proxies beside the control plane that it measures
// must not be what is measured. One goroutine reads and writes, without any other to be woken; what it sends leaves when there is nothing more to read.
package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Dialer opens streams of one method.
type Dialer struct {
	Address string // host:port
	Method  string // /package.Service/Method
	// Window is how many bytes a server may be ahead of its client, in the stream and in all; at least 65535.
	Window int

	large sync.Pool // *[]byte: messages that came in several frames
}

// Sizes, bytes.
const (
	defaultWindow  = 65535    // of both sides, RFC 9113 section 6.9.2
	frameHead      = 9        // length, type, flags, stream
	prefix         = 5        // of a gRPC message: whether it is compressed, and its length
	bufferSize     = 8 << 10  // what is read at once where it is not known yet what comes
	maxFrame       = 16 << 10 // that either side may send, unless the other allows more: we do not
	enough         = 64 << 10 // to be sent before there is nothing more to read
	maxMessage     = 512 << 20
	streamID       = 1
	maxWindow      = 1<<31 - 1
	streamIDBits   = 1<<31 - 1
	pooledCapacity = 64 << 10 // smallest
)

// Stream is one call. It is for one goroutine, but for Close.
type Stream struct {
	dialer *Dialer
	conn   net.Conn

	buffer      []byte // what was read
	from, to    int    // of it: what was not looked at
	rest        int    // bytes of the current DATA frame that are still to come
	padding     int    // that follows them
	taken       int    // bytes that the windows have not been given back for
	start       [prefix]byte
	message     *[]byte // that did not come in one piece
	headers     []byte  // of a block that is not complete
	inHeaders   bool
	lastHeaders bool // the block ends the stream
	decoder     *hpack.Decoder
	trailers    trailers
	ended       bool
	away        string // what the server said when it announced to go

	out          []byte // frames to be sent
	waiting      []byte // data that the server's windows have no room for yet
	room         int    // of the connection's window
	streamRoom   int
	initialRoom  int
	maxSendFrame int
}

// trailers are what the server says of the call.
type trailers struct{ http, grpc, message string }

// Dial connects, and opens the stream. Without config the connection is not encrypted. The stream ends with ctx.
func (d *Dialer) Dial(ctx context.Context, config *tls.Config) (*Stream, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", d.Address)
	if err != nil {
		return nil, err
	}
	conn, scheme := raw, "http"
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{http2.NextProtoTLS}
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		conn, scheme = secure, "https"
	}
	s := d.stream(conn)
	if err := s.open(scheme); err != nil {
		conn.Close()
		return nil, err
	}
	context.AfterFunc(ctx, s.Close)
	return s, nil
}

func (d *Dialer) stream(conn net.Conn) *Stream {
	s := &Stream{dialer: d, conn: conn, buffer: make([]byte, bufferSize), room: defaultWindow, streamRoom: defaultWindow, initialRoom: defaultWindow, maxSendFrame: maxFrame}
	s.decoder = hpack.NewDecoder(4096, s.field)
	return s
}

// open writes the preface, settings, and the headers of the call.
func (s *Stream) open(scheme string) error {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", scheme}, {":path", s.dialer.Method}, {":authority", s.dialer.Address},
		{"content-type", "application/grpc"}, {"te", "trailers"}} {
		if err := e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return fmt.Errorf("encoding headers: %w", err)
		}
	}
	s.out = append(s.out, http2.ClientPreface...)
	s.head(12, http2.FrameSettings, 0, 0)
	s.setting(http2.SettingEnablePush, 0)
	s.setting(http2.SettingInitialWindowSize, s.dialer.Window)
	s.credit(0, s.dialer.Window-defaultWindow)
	s.head(block.Len(), http2.FrameHeaders, http2.FlagHeadersEndHeaders, streamID)
	s.out = append(s.out, block.Bytes()...)
	return s.flush()
}

// Close ends the connection. It may be called from any goroutine, and again.
func (s *Stream) Close() { s.conn.Close() }

// Send sends a message, which is copied. It leaves with the next Recv that has to wait.
func (s *Stream) Send(message []byte) error {
	s.waiting = append(s.waiting, 0)
	s.waiting = binary.BigEndian.AppendUint32(s.waiting, uint32(len(message)))
	s.waiting = append(s.waiting, message...)
	s.fit()
	if len(s.out) > enough {
		return s.flush()
	}
	return nil
}

// fit makes frames of waiting data, as far as the server's windows have room.
func (s *Stream) fit() {
	sent := 0
	for {
		n := min(len(s.waiting)-sent, s.room, s.streamRoom, s.maxSendFrame)
		if n <= 0 {
			break
		}
		s.head(n, http2.FrameData, 0, streamID)
		s.out = append(s.out, s.waiting[sent:sent+n]...)
		sent, s.room, s.streamRoom = sent+n, s.room-n, s.streamRoom-n
	}
	s.waiting = s.waiting[:copy(s.waiting, s.waiting[sent:])]
}

func (s *Stream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out)
	if s.out = s.out[:0]; cap(s.out) > enough {
		s.out = nil
	}
	return err
}

// head begins a frame.
func (s *Stream) head(size int, kind http2.FrameType, flags http2.Flags, id uint32) {
	s.out = append(s.out, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags))
	s.out = binary.BigEndian.AppendUint32(s.out, id)
}

func (s *Stream) setting(id http2.SettingID, value int) {
	s.out = binary.BigEndian.AppendUint16(s.out, uint16(id))
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(value))
}

// credit opens a window of ours.
func (s *Stream) credit(id uint32, n int) {
	if n > 0 {
		s.head(4, http2.FrameWindowUpdate, 0, id)
		s.out = binary.BigEndian.AppendUint32(s.out, uint32(n))
	}
}

// Recv waits for a message, which is valid until the next Recv. It sends what is to be sent before it waits. io.EOF: the call has ended without an error.
func (s *Stream) Recv() ([]byte, error) {
	if s.message != nil {
		s.dialer.large.Put(s.message)
		s.message = nil
	}
	if err := s.fill(s.start[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(s.start[1:]))
	if s.start[0] != 0 || size > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes, compressed: %v", size, s.start[0] != 0)
	}
	if size <= s.rest && size <= s.to-s.from { // it is there, in one piece
		message := s.buffer[s.from : s.from+size]
		s.from, s.rest = s.from+size, s.rest-size
		return message, nil
	}
	s.message = s.space(size)
	if err := s.fill(*s.message); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return *s.message, nil
}

// space is memory for a message.
func (s *Stream) space(size int) *[]byte {
	if old, ok := s.dialer.large.Get().(*[]byte); ok && cap(*old) >= size {
		*old = (*old)[:size]
		return old
	}
	capacity := pooledCapacity
	for capacity < size {
		capacity *= 2
	}
	made := make([]byte, size, capacity)
	return &made
}
