// Package takeover has a proxy's listening sockets outlive it. A process offers its own through a socket of the file system; the one that comes after it
// takes them over there, says when it is ready to serve, and the first one lets go of them: no connection is refused, none is served by a process that is
// not ready, and what the first one has open it finishes. The package does not know what sockets are for.
package takeover

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Sockets are the listening sockets of a process, some of which another one had before. Goroutines may share it; a nil one just opens sockets.
type Sockets struct {
	log  *slog.Logger
	user int // whose processes may have them: this one's
	// patience bounds what the two processes wait for each other without a reason.
	patience time.Duration

	mu     sync.Mutex
	kept   map[string]*os.File // taken over and not asked for yet
	open   map[*held]bool
	first  *predecessor // whose sockets these were, until it lets go of them; nil: nobody's
	begun  chan struct{}
	askers map[*asker]bool
	given  bool // another process has them: nothing is opened any more
}

// New returns a process's Sockets.
func New(log *slog.Logger) *Sockets {
	return &Sockets{log: log, user: os.Geteuid(), patience: 10 * time.Second, kept: map[string]*os.File{}, open: map[*held]bool{}, askers: map[*asker]bool{}}
}

// Listen is net.Listen, but for sockets that were taken over: these accept once the process before has let go of them. Once another process has the sockets
// nothing is opened any more: the error is net.ErrClosed.
func (s *Sockets) Listen(network, address string) (net.Listener, error) {
	if s == nil {
		return net.Listen(network, address)
	}
	l, h, err := obtain(s, network+" "+address, net.FileListener, func() (net.Listener, error) { return net.Listen(network, address) })
	if err != nil {
		return nil, err
	}
	return &listener{l, h}, nil
}

// ListenUDP is net.ListenUDP, likewise.
func (s *Sockets) ListenUDP(at netip.AddrPort) (Datagrams, error) {
	if s == nil {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	}
	u, h, err := obtain(s, "udp "+at.String(), fileUDP, func() (*net.UDPConn, error) { return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		return nil, err
	}
	return &datagrams{u, h}, nil
}

// fileUDP is net.FilePacketConn for sockets of UDP.
func fileUDP(f *os.File) (*net.UDPConn, error) {
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("it is a %T", c), c.Close())
	}
	return u, nil
}

// Datagrams is a socket of UDP.
type Datagrams interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// raw is a socket of the net package.
type raw interface {
	Close() error
}

// obtain makes a socket of what was taken over under a key, or else a new one. Where the process before may have opened it since it was asked it is asked
// again.
func obtain[T raw](s *Sockets, key string, inherit func(*os.File) (T, error), open func() (T, error)) (socket T, h *held, err error) {
	s.mu.Lock() // also meanwhile: what is opened is given, too, or never was
	defer s.mu.Unlock()
	if s.given {
		return socket, nil, fmt.Errorf("%s: another process has the sockets: %w", key, net.ErrClosed)
	}
	f := s.kept[key]
	if f == nil {
		if socket, err = open(); errors.Is(err, syscall.EADDRINUSE) && s.first != nil && s.fetch() == nil {
			f = s.kept[key]
		}
	}
	if f != nil {
		delete(s.kept, key)
		socket, err = inherit(f)
		_ = f.Close() // inherit has duplicated it
		if err != nil {
			err = fmt.Errorf("taking %s over: %w", key, err)
		}
	}
	if err != nil {
		return socket, nil, err
	}
	h, err = s.hold(key, socket, f == nil)
	return socket, h, err
}

// hold notes an open socket, which is this process's own where nobody had it before. s.mu is held.
func (s *Sockets) hold(key string, socket raw, own bool) (*held, error) {
	conn, ok := socket.(syscall.Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s: %T has no descriptor", key, socket), socket.Close())
	}
	descriptor, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", key, err), socket.Close())
	}
	h := &held{sockets: s, key: key, socket: socket, descriptor: descriptor, begun: s.begun, given: make(chan struct{}), closed: make(chan struct{})}
	h.removes(own)
	s.open[h] = true
	return h, nil
}

// held is an open socket.
type held struct {
	sockets    *Sockets
	key        string
	socket     raw
	descriptor syscall.RawConn
	begun      <-chan struct{} // closes when the process before has let go; nil: it is nobody else's
	given      chan struct{}   // closes when it is another process's
	closed     chan struct{}
	once       sync.Once
	lent       int // how many processes have it, too, and may come to be its only ones; of sockets.mu
}

// await waits until the socket is this process's alone.
func (h *held) await() error {
	if h.begun == nil {
		return nil
	}
	select {
	case <-h.begun:
		return nil
	case <-h.closed:
		return net.ErrClosed
	}
}

// ended says why a socket failed. One that is another process's by now is just silent, until its owner here closes it.
func (h *held) ended(err error) error {
	select {
	case <-h.given:
		<-h.closed
		return net.ErrClosed
	default:
		return err
	}
}

// Close closes the socket for this process.
func (h *held) Close() error {
	err := net.ErrClosed
	h.once.Do(func() {
		h.sockets.mu.Lock()
		defer h.sockets.mu.Unlock()
		delete(h.sockets.open, h)
		close(h.closed)
		err = h.socket.Close()
		select {
		case <-h.given:
			err = nil // it was closed then
		default:
		}
	})
	return err
}

// give leaves the socket to another process, which has its own descriptor of it. What was asked over UDP is still answered. sockets.mu is held.
func (h *held) give() {
	close(h.given)
	h.removes(false)
	if u, ok := h.socket.(*net.UDPConn); ok {
		_ = u.SetReadDeadline(time.Unix(1, 0)) // until its owner closes it
		return
	}
	_ = h.socket.Close()
}

type listener struct {
	net.Listener
	held *held
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if err := l.held.await(); err != nil {
		return nil, err
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, l.held.ended(err)
	}
	return c, nil
}

// Close implements net.Listener.
func (l *listener) Close() error { return l.held.Close() }

type datagrams struct {
	*net.UDPConn
	held *held
}

// ReadFromUDPAddrPort implements Datagrams.
func (d *datagrams) ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	if err := d.held.await(); err != nil {
		return 0, from, err
	}
	if n, from, err = d.UDPConn.ReadFromUDPAddrPort(b); err != nil {
		return 0, from, d.held.ended(err)
	}
	return n, from, nil
}

// Close implements Datagrams.
func (d *datagrams) Close() error { return d.held.Close() }
