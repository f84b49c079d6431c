package http1

import (
	"errors"
	"net"
	"os"
	"sync"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/listener"
)

const (
	smallBuffer = 2 << 10  // what an idle connection keeps; longer heads borrow a big one
	bigBuffer   = 64 << 10 // for long heads and streaming bodies; must exceed maxHead
	maxHead     = 60 << 10 // where nothing else is said, as in Envoy
	maxFields   = 100
)

// spare is how much room there is behind the longest head.
const spare = bigBuffer - maxHead

// buffers holds big buffers between uses.
var buffers = sync.Pool{New: func() any { return new([bigBuffer]byte) }}

// source reads a connection into a buffer. Bytes before keep belong to the head of the message in progress and stay
// where they are; buf[r:w] is unread.
type source struct {
	nc   net.Conn
	buf  []byte
	r, w int
	keep int

	small []byte
	big   *[bigBuffer]byte
	huge  bool // buf is neither: it was made for a head that is longer
	most  int  // the longest head that there may be; 0: maxHead
}

// init begins to read nc; first was read already, and its memory becomes the source's.
func (s *source) init(nc net.Conn, first []byte) {
	s.nc, s.w = nc, len(first)
	if cap(first) < smallBuffer {
		first = append(listener.Memory(), first...)
	}
	s.small = first[:cap(first)]
	s.buf = s.small
}

// unread returns what has been read but not used.
func (s *source) unread() []byte { return s.buf[s.r:s.w] }

// fill reads once more, making room first. It fails with io.EOF and the like, or with exchange.ErrTooLarge where the
// message in progress fills a big buffer.
func (s *source) fill() error {
	if s.r == s.w {
		s.r, s.w = s.keep, s.keep
	}
	if s.w == len(s.buf) {
		if err := s.room(); err != nil {
			return err
		}
	}
	n, err := s.nc.Read(s.buf[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	return err
}

func (s *source) room() error {
	switch {
	case s.r > s.keep:
		s.w = s.keep + copy(s.buf[s.keep:], s.buf[s.r:s.w])
		s.r = s.keep
	case s.big == nil && !s.huge:
		s.enlarge()
	case s.keep == 0 && len(s.buf) < s.most+spare:
		s.grow()
	default:
		return exchange.ErrTooLarge
	}
	return nil
}

// enlarge moves what is unread to a big buffer. The head in progress, if parsed, stays behind in the small one.
func (s *source) enlarge() {
	if s.big != nil || s.huge {
		return
	}
	s.big = buffers.Get().(*[bigBuffer]byte)
	s.w = copy(s.big[:], s.buf[s.r:s.w])
	s.buf, s.r, s.keep = s.big[:], 0, 0
}

// grow makes room for more of a head that no big buffer holds; none of it has been parsed.
func (s *source) grow() {
	next := make([]byte, min(2*len(s.buf), s.most+spare))
	s.w = copy(next, s.buf[s.r:s.w])
	s.r = 0
	s.giveBack()
	s.buf, s.huge = next, true
}

// giveBack lets go of whatever is larger than the small buffer.
func (s *source) giveBack() {
	if s.big != nil {
		buffers.Put(s.big)
	}
	s.big, s.huge = nil, false
}

// done ends a message: nothing read so far need stay. The big buffer goes back where what is unread fits without it.
func (s *source) done() {
	s.keep = 0
	if s.big == nil && !s.huge {
		if s.r == s.w {
			s.r, s.w = 0, 0
		}
		return
	}
	if s.w-s.r > len(s.small) {
		return
	}
	s.w = copy(s.small, s.buf[s.r:s.w])
	s.r, s.buf = 0, s.small
	s.giveBack()
}

// release gives everything back; the source is not used again before init.
func (s *source) release() {
	s.giveBack()
	listener.Reuse(s.small)
	s.buf, s.small = nil, nil
	s.r, s.w, s.keep = 0, 0, 0
}

// ioError turns a connection's error into one that retry policies know.
func ioError(err error) error {
	switch {
	case err == exchange.ErrTooLarge:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return exchange.ErrTimeout
	}
	return exchange.ErrReset
}
