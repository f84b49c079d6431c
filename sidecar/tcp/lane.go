package tcp

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// record is TLS's longest record: a read never brings more.
	record = 16 << 10
	// sip is what a connection with TLS keeps each way while it waits: whether there is something to read is known only by reading.
	sip = 512
)

// buffers are for bytes that the kernel cannot splice. Connections that wait have none.
var buffers = sync.Pool{New: func() any { return new([record]byte) }}

// lane moves bytes one way.
type lane struct {
	dst, src net.Conn
	to, from *net.TCPConn // both set: the kernel can splice
	raw      syscall.RawConn
	waiting  func(fd uintptr) bool
	poll     [1]unix.PollFd
	limited  io.LimitedReader
	first    []byte        // for a source that cannot be asked whether it has something
	turn     atomic.Uint64 // begins and ends of writes
}

func newLane(dst, src net.Conn) *lane {
	l := &lane{dst: dst, src: src}
	if from, ok := src.(*net.TCPConn); ok {
		if raw, err := from.SyscallConn(); err == nil {
			l.from, l.raw, l.waiting = from, raw, l.look
		}
	}
	if l.raw == nil {
		l.first = make([]byte, sip)
	}
	if to, ok := dst.(*net.TCPConn); ok && l.raw != nil {
		l.to = to
	}
	return l
}

// writing says whether a lane that is at a turn waits for its destination.
func writing(turn uint64) bool { return turn%2 == 1 }

// look says whether there is something to move, and how much.
func (l *lane) look(fd uintptr) bool {
	l.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
	if n, err := unix.Poll(l.poll[:], 0); n == 0 || err != nil {
		return false
	}
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil || n < 1 {
		n = 1 // the end, or an error: reading tells
	}
	l.limited = io.LimitedReader{R: l.from, N: int64(n)}
	return true
}

// move moves what is there, waiting for something: by splice where both ends are sockets, and exactly that much, since
// splice itself would not tell what it has moved before it is done. io.EOF: the source has ended.
func (l *lane) move() (int64, error) {
	if l.raw == nil {
		return l.unwrap()
	}
	if err := l.raw.Read(l.waiting); err != nil {
		return 0, err
	}
	if l.to == nil {
		return l.pass(nil)
	}
	l.turn.Add(1)
	n, err := l.to.ReadFrom(&l.limited)
	l.turn.Add(1)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// unwrap passes on what a source with TLS has: with a small buffer while that suffices.
func (l *lane) unwrap() (int64, error) {
	n, err := l.src.Read(l.first)
	if n == len(l.first) {
		return l.pass(l.first)
	}
	return l.write(l.first[:n], err)
}

// pass reads with a big buffer, behind what was read already, and passes both on. Where something was, the rest of it is here, or there is none.
func (l *lane) pass(first []byte) (int64, error) {
	buf := buffers.Get().(*[record]byte)
	defer buffers.Put(buf)
	n := copy(buf[:], first)
	if n == 0 {
		n, err := l.src.Read(buf[:])
		return l.write(buf[:n], err)
	}
	_ = l.src.SetReadDeadline(past)
	more, _ := l.src.Read(buf[n:]) // an error comes again
	_ = l.src.SetReadDeadline(time.Time{})
	return l.write(buf[:n+more], nil)
}

// write passes p on; err is what came with it.
func (l *lane) write(p []byte, err error) (int64, error) {
	if len(p) == 0 {
		return 0, err
	}
	l.turn.Add(1)
	_, werr := l.dst.Write(p)
	l.turn.Add(1)
	if werr != nil {
		return int64(len(p)), werr
	}
	if err == io.EOF {
		err = nil // it comes again
	}
	return int64(len(p)), err
}
