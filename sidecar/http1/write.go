package http1

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// outBuffer is how much is gathered before a write; longer pieces are written as they are.
const outBuffer = 16 << 10

var outs = sync.Pool{New: func() any { return new([outBuffer]byte) }}

// sink gathers what goes out. It has memory only while it has something: all connections of a processor then share the little that its caches hold.
type sink struct {
	nc  net.Conn
	mem *[outBuffer]byte
	buf []byte
	err error

	stall time.Duration // the other side is given up where it takes no byte for that long, or half as much longer; 0: never
	by    time.Time     // the connection's write deadline; zero: none
	watch *watch        // is told of writes under way; nil: nobody is
	now   time.Time     // what the time was a moment ago, for the next write; zero: unknown
}

// begin readies buf to be appended to.
func (s *sink) begin() {
	if s.mem == nil {
		s.mem = outs.Get().(*[outBuffer]byte)
		s.buf = s.mem[:0]
	}
}

// done gives the memory back, and what is in it up.
func (s *sink) done() {
	if s.mem != nil {
		outs.Put(s.mem)
		s.mem, s.buf = nil, nil
	}
}

func (s *sink) flush() error {
	if s.err != nil || len(s.buf) == 0 {
		return s.err
	}
	err := s.send(s.buf)
	s.done()
	return err
}

// send writes p for as long as the other side takes some of it.
func (s *sink) send(p []byte) error {
	for {
		s.extend()
		s.watch.writes()
		n, err := s.nc.Write(p)
		if cut := s.watch.written(); cut || n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			err = exchange.ErrTimeout
		}
		if p = p[n:]; err == nil || len(p) == 0 || s.stall == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			s.err = err
			return err
		}
	}
}

// extend moves the write deadline ahead where it is near, or another one than it should be.
func (s *sink) extend() {
	if s.stall == 0 {
		if !s.by.IsZero() {
			s.by = time.Time{}
			_ = s.nc.SetWriteDeadline(s.by)
		}
		return
	}
	now := s.now
	if s.now = (time.Time{}); now.IsZero() {
		now = time.Now()
	}
	if left := s.by.Sub(now); left < s.stall || left > 2*s.stall {
		s.by = now.Add(s.stall + s.stall/2)
		_ = s.nc.SetWriteDeadline(s.by)
	}
}

// write sends p now or later; it is free again when write returns.
func (s *sink) write(p []byte) error {
	if s.err != nil {
		return s.err
	}
	if len(s.buf)+len(p) <= outBuffer {
		s.gather(p)
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	if len(p) <= outBuffer/2 {
		s.gather(p)
		return nil
	}
	return s.send(p)
}

func (s *sink) gather(p []byte) {
	if len(p) > 0 {
		s.begin()
		s.buf = append(s.buf, p...)
	}
}

// chunk sends p as one chunk.
func (s *sink) chunk(p []byte) error {
	if len(p) == 0 {
		return s.err
	}
	s.begin()
	s.buf = append(strconv.AppendInt(s.buf, int64(len(p)), 16), "\r\n"...)
	if err := s.write(p); err != nil {
		return err
	}
	s.gather(lineEnd)
	return nil
}

// lineEnd is never written.
var lineEnd = []byte("\r\n")

// fields appends all fields but those that the codec writes itself.
func (s *sink) fields(h *exchange.Head, length bool) {
	for i := range h.Fields {
		f := &h.Fields[i]
		switch string(f.Name) {
		case "content-length":
			if !length {
				continue
			}
		case "connection", "transfer-encoding", "keep-alive", "proxy-connection", "host":
			continue
		}
		s.field(f.Name, f.Value)
	}
}

func (s *sink) field(name, value []byte) {
	s.buf = append(s.buf, name...)
	s.buf = append(s.buf, ": "...)
	s.buf = append(s.buf, value...)
	s.buf = append(s.buf, "\r\n"...)
}

// trailers ends a chunked body.
func (s *sink) trailers(t *exchange.Head) {
	s.begin()
	s.buf = append(s.buf, "0\r\n"...)
	if t != nil {
		s.fields(t, false)
	}
	s.buf = append(s.buf, "\r\n"...)
}

// out counts a body that goes out against its declared length.
type out struct {
	mode mode
	left int64
	over bool
}

// begin frames what goes out by its head; declared: it has a length. Not ok: the length is none, or denies that the
// message ends with its head. A bodiless message (the answer to HEAD) may declare any.
func (o *out) begin(h *exchange.Head, end, bodiless bool) (declared, ok bool) {
	o.over, o.left, o.mode = end || bodiless, 0, none
	v := h.Get("content-length")
	if v == nil {
		if !o.over {
			o.mode = chunked
		}
		return false, true
	}
	n, ok := parseLength(v)
	switch {
	case !ok, end && !bodiless && n != 0:
		return false, false
	case !o.over:
		o.mode, o.left = length, n
	}
	return true, true
}

// account checks a piece against the declared length, so that a wrong length never reaches the other side's parser.
func (o *out) account(n int, end bool) error {
	if o.over && n > 0 {
		return exchange.ErrProtocol
	}
	if o.mode == length {
		if o.left -= int64(n); o.left < 0 || end && o.left != 0 {
			return exchange.ErrProtocol
		}
	}
	o.over = o.over || end
	return nil
}
