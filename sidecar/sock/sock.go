// Package sock is a stream socket for codecs that ask and then wait for the answer: a write can be held until the read that follows it,
// which then costs no read that finds nothing. It knows no protocol, and never starts a goroutine.
package sock

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
)

// most is how much can be held; longer writes go out at once.
const most = 4 << 10

// memory is for held writes, between uses.
var memory = sync.Pool{New: func() any { return new([most]byte) }}

// Socket is a stream socket: *net.TCPConn or *net.UnixConn.
type Socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// Conn is a connection. Reads and writes may happen at the same time, as on any connection; Hold and Release, and the writes between
// them, belong to the goroutine that reads.
type Conn struct {
	Socket
	// Sent, where it is set, is called once a Read has sent what was held, before it waits. It must not block.
	Sent func()

	raw syscall.RawConn

	holds bool
	alone bool // nothing may come before what is held is sent
	early bool // something had
	mem   *[most]byte
	held  []byte // of mem

	in      []byte // what the read in progress fills
	n       int
	errno   syscall.Errno
	short   bool // the held write did not go out whole
	readers func(fd uintptr) bool

	quiet  bool // what the last look saw
	looker func(fd uintptr)
	dry    bool // Read finds nothing, whatever there is
	probe  [1]byte

	out     []byte // what the write in progress sends
	failed  syscall.Errno
	writers func(fd uintptr) bool
}

// New wraps a connection. It fails where c is closed.
func New(c Socket) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Conn{Socket: c, raw: raw}
	s.readers, s.writers, s.looker = s.fill, s.drain, s.look
	return s, nil
}

// NetConn returns the socket itself.
func (c *Conn) NetConn() net.Conn { return c.Socket }

// Of finds the Conn below TLS and whatever else wraps it; nil: there is none.
func Of(nc net.Conn) *Conn {
	for {
		switch c := nc.(type) {
		case *Conn:
			return c
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

// Holds says whether something is held.
func (c *Conn) Holds() bool { return len(c.held) > 0 }

// ErrUnasked is the error of a Read before which the other side had spoken, or closed, though it was not asked: what was held was not
// sent.
var ErrUnasked = errors.New("the other side spoke before it was asked")

// Hold keeps what is written from now on until the next Read or Release, as far as there is room for it. It is for writes that the other
// side answers, or that nobody else waits for, and a Read must follow at once. alone: the other side may not have said anything yet; else
// that Read fails with ErrUnasked.
func (c *Conn) Hold(alone bool) { c.holds, c.alone = true, alone }

// Release sends what is held.
func (c *Conn) Release() error {
	c.holds = false
	if len(c.held) == 0 {
		return nil
	}
	defer c.forget()
	_, err := c.send(c.held)
	return err
}

// Quiet says whether there is nothing to read, not even the end. It must not be called during a Read.
func (c *Conn) Quiet() bool {
	c.quiet = false
	return c.raw.Control(c.looker) == nil && c.quiet
}

// Silent is Quiet also about what above, which reads through c (TLS, say), has read ahead. Where there was something, it may be lost. above may
// have to answer what concerns only itself: that write must not be held.
func (c *Conn) Silent(above net.Conn) bool {
	if !c.Quiet() {
		return false
	}
	if above == net.Conn(c) {
		return true
	}
	c.dry = true
	n, err := above.Read(c.probe[:])
	c.dry = false
	return n == 0 && errors.Is(err, dried)
}

// dried is the error of a Read that must not look at the socket. TLS goes on after temporary ones.
var dried net.Error = nothing{}

type nothing struct{}

// Error implements error.
func (nothing) Error() string { return "nothing was read ahead" }

// Timeout implements net.Error.
func (nothing) Timeout() bool { return true }

// Temporary implements net.Error.
func (nothing) Temporary() bool { return true }

// Ended waits until the other side has ended its half or cut the connection, and leaves what is to be read before that. It fails where a Read would:
// at the read deadline, and once c is closed. It must not be called during a Read.
func (c *Conn) Ended() error {
	return c.raw.Read(ended)
}

// Await waits until there is something to read, be it the end, and leaves it. It fails where a Read would: at the read deadline, and once c is closed.
// It must not be called during a Read, nor while something is held.
func (c *Conn) Await() error {
	return c.raw.Read(ready)
}

func (c *Conn) look(fd uintptr) { c.quiet = peek(fd) == syscall.EAGAIN }

func (c *Conn) forget() {
	memory.Put(c.mem)
	c.mem, c.held = nil, nil
}

// Write sends p, or holds it.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.holds {
		return c.send(p)
	}
	if len(c.held)+len(p) > most {
		if err := c.Release(); err != nil {
			return 0, err
		}
		return c.send(p)
	}
	if c.mem == nil {
		c.mem = memory.Get().(*[most]byte)
		c.held = c.mem[:0]
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

func (c *Conn) send(p []byte) (int, error) {
	c.out, c.failed = p, 0
	err := c.raw.Write(c.writers)
	n := len(p) - len(c.out)
	c.out = nil
	if err == nil && c.failed != 0 {
		err = &net.OpError{Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("write", c.failed)}
	}
	return n, err
}

// drain is send's work on the descriptor; false: wait until it takes more.
func (c *Conn) drain(fd uintptr) bool {
	for len(c.out) > 0 {
		n, errno := write(fd, c.out)
		switch errno {
		case 0:
			c.out = c.out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.failed = errno
			return true
		}
	}
	return true
}

// Read sends what is held and reads what comes.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.dry {
		return 0, dried
	}
	if c.holds { // nobody else writes then
		c.holds = false
	}
	c.in = p
	for {
		c.n, c.errno, c.short, c.early = 0, 0, false, false
		err := c.raw.Read(c.readers)
		if c.short {
			if err := c.Release(); err != nil {
				return 0, err
			}
			continue
		}
		c.in = nil
		switch {
		case err != nil:
			return 0, err
		case c.early:
			return 0, ErrUnasked
		case c.errno != 0:
			return 0, &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", c.errno)}
		case c.n == 0:
			return 0, io.EOF
		}
		return c.n, nil
	}
}

// fill is Read's work on the descriptor; false: wait until there is something to read. The held write happens here, where the wait is
// ready: an answer that comes while it is sent is not missed. Where nothing had come before, none need be looked for either.
func (c *Conn) fill(fd uintptr) bool {
	if len(c.held) > 0 {
		if c.early = c.alone && peek(fd) != syscall.EAGAIN; c.early {
			c.forget()
			return true
		}
		sent := c.first(fd)
		if c.short || sent && c.alone {
			return c.short
		}
		runtime.Gosched() // others go first: by then a busy client has often asked again, and is not waited for
	}
	for {
		n, errno := read(fd, c.in)
		switch errno {
		case 0:
			c.n = n
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.errno = errno
			return true
		}
	}
}

// first sends what is held. Where it cannot, the other side may have closed after it said why: that is still to be read.
func (c *Conn) first(fd uintptr) (sent bool) {
	n, errno := write(fd, c.held)
	switch {
	case errno == 0 && n == len(c.held):
		sent = true
	case errno == 0 || errno == syscall.EAGAIN || errno == syscall.EINTR:
		c.held = c.held[max(n, 0):]
		c.short = true
		return false
	}
	c.forget()
	if c.Sent != nil {
		c.Sent()
	}
	return sent
}
