package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

const (
	frameHead = 9
	preface   = http2.ClientPreface
)

// The append functions put one frame at the end of a write buffer. (x/net's Framer would copy every payload twice.)

func appendFrame(b []byte, n int, t http2.FrameType, f http2.Flags, id uint32) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(f))
	return binary.BigEndian.AppendUint32(b, id)
}

func appendData(b []byte, id uint32, p []byte, end bool) []byte {
	var f http2.Flags
	if end {
		f = http2.FlagDataEndStream
	}
	return append(appendFrame(b, len(p), http2.FrameData, f, id), p...)
}

// appendBlock writes a header block as HEADERS and as many CONTINUATIONs as its size needs.
func appendBlock(b []byte, id uint32, block []byte, end bool, size int) []byte {
	t, f := http2.FrameHeaders, http2.Flags(0)
	if end {
		f = http2.FlagHeadersEndStream
	}
	for {
		n := min(len(block), size)
		if n == len(block) {
			f |= http2.FlagHeadersEndHeaders
		}
		b = append(appendFrame(b, n, t, f, id), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
		t, f = http2.FrameContinuation, 0
	}
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	b = appendFrame(b, 4, http2.FrameRSTStream, 0, id)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendWindow(b []byte, id uint32, n int64) []byte {
	b = appendFrame(b, 4, http2.FrameWindowUpdate, 0, id)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendSettings(b []byte, ss []http2.Setting) []byte {
	b = appendFrame(b, 6*len(ss), http2.FrameSettings, 0, 0)
	for _, s := range ss {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return b
}

func appendSettingsAck(b []byte) []byte {
	return appendFrame(b, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
}

func appendPing(b []byte, data [8]byte, ack bool) []byte {
	var f http2.Flags
	if ack {
		f = http2.FlagPingAck
	}
	return append(appendFrame(b, 8, http2.FramePing, f, 0), data[:]...)
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode, text string) []byte {
	b = appendFrame(b, 8+len(text), http2.FrameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, text...)
}
