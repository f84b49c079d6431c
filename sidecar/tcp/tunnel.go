package tcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// connectTimeout is Envoy's, for clusters that say none.
const connectTimeout = 10 * time.Second

// far is the upstream's end of a relay.
type far struct {
	net.Conn
	security *exchange.Security
	release  func()
}

// Release closes the connection and ends its count.
func (f *far) Release() { f.release() }

// reach connects to h, a host of a cluster: to itself, or through it where the chain tunnels.
func (s *Server) reach(ctx context.Context, cluster *upstream.Cluster, h *upstream.Host, c *exchange.Connection, to *config.Tunnel) (*far, exchange.Outcome, string) {
	if to != nil {
		return s.enter(ctx, cluster, h, c, to)
	}
	conn, o, why := h.Connect(ctx, c)
	if o != exchange.OK {
		return nil, o, why
	}
	return &far{Conn: conn.Conn, security: conn.Security, release: conn.Release}, o, ""
}

// enter opens a tunnel through h, a proxy. The client's bytes wait for its answer, so that a pooled connection which turns out to be closed is no
// failure yet.
func (s *Server) enter(ctx context.Context, cluster *upstream.Cluster, h *upstream.Host, c *exchange.Connection, to *config.Tunnel) (*far, exchange.Outcome, string) {
	cluster.Begin()
	most := cmp.Or(cluster.Config().ConnectTimeout, connectTimeout)
	for {
		t := &tunnel{pieces: make(chan piece), taken: make(chan struct{}), closed: make(chan struct{}), read: make(chan struct{})}
		o, again := t.open(ctx, h, c, to, most)
		switch {
		case o == exchange.OK:
			go s.listen(t)
			return &far{Conn: t, security: t.lease.Info().Security, release: t.release}, o, ""
		case !again:
			return nil, o, t.x.Upstream.Failure
		}
	}
}

// listen reads a tunnel until it ends.
func (s *Server) listen(t *tunnel) {
	defer close(t.read)
	defer func() {
		if v := recover(); v != nil {
			s.opts.Log.Error("recovered from a panic while reading a tunnel", "panic", v, "stack", string(debug.Stack()))
			s.opts.Recorder.Panicked()
			_ = t.Close()
		}
	}()
	t.listen()
}

// tunnel is a stream through a proxy, as a connection.
type tunnel struct {
	x     exchange.Exchange
	lease upstream.Lease
	s     exchange.Stream

	pieces chan piece    // from the goroutine that reads the stream
	taken  chan struct{} // what came last is not needed any more
	read   chan struct{} // closes when that goroutine has ended
	rest   []byte        // of the last piece
	holds  bool          // the last piece is not taken yet
	over   error         // how the stream ended, for every later Read
	ended  atomic.Bool   // it was read to its end
	wrote  atomic.Bool   // it was written to its end
	once   sync.Once
	closed chan struct{}
	late   deadline
}

// piece is what the stream has brought. Its bytes are borrowed until it is taken.
type piece struct {
	bytes []byte
	end   bool
	err   error
}

// errRefused is a proxy's answer to a request for a tunnel.
var errRefused = errors.New("the proxy refused the tunnel")

// open asks h for the tunnel. again: the proxy has not seen the request, since a pooled connection was closed before.
func (t *tunnel) open(ctx context.Context, h *upstream.Host, c *exchange.Connection, to *config.Tunnel, most time.Duration) (o exchange.Outcome, again bool) {
	x := &t.x
	x.Reset(c)
	x.UpstreamStart = time.Now()
	ask(&x.Request, to)
	stop := context.AfterFunc(ctx, x.Cancel)
	defer stop()
	if t.lease, o = h.Open(x, nil, time.Time{}); o != exchange.OK {
		return o, false
	}
	t.s = t.lease.Stream
	if !x.Attach(t.s) {
		t.lease.Close(time.Time{})
		return exchange.ClientGone, false
	}
	err := t.request(to, most)
	x.Detach()
	if err == nil {
		return exchange.OK, false
	}
	reused := t.lease.Reused() && (errors.Is(err, exchange.ErrUnsent) || errors.Is(err, exchange.ErrRefused) || errors.Is(err, exchange.ErrReset) || errors.Is(err, exchange.ErrStreamReset))
	t.s.Abort()
	t.lease.Close(time.Time{})
	x.Upstream.Failure = err.Error()
	if errors.Is(err, exchange.ErrTimeout) {
		return exchange.ConnectTimeout, false
	}
	return exchange.ConnectFailure, reused && ctx.Err() == nil
}

// ask makes the request for a tunnel.
func ask(h *exchange.Head, to *config.Tunnel) {
	h.Method, h.Authority = exchange.View("CONNECT"), exchange.View(to.Authority)
	if to.Post != "" {
		h.Method, h.Scheme, h.Path = exchange.View("POST"), exchange.View("http"), exchange.View(to.Post)
	}
}

// request sends the request and waits for its answer, no longer than connecting may take.
func (t *tunnel) request(to *config.Tunnel, most time.Duration) error {
	t.s.SetDeadline(time.Now().Add(most))
	if err := t.s.WriteHead(&t.x.Request, to.Post == ""); err != nil {
		return err
	}
	if err := t.s.Flush(); err != nil {
		return err
	}
	for {
		t.x.Response.Reset()
		end, err := t.s.ReadHead(&t.x.Response)
		switch status := t.x.Response.Status; {
		case err != nil:
			return err
		case status < 200 && status != 101:
		case status/100 != 2 || end:
			return fmt.Errorf("%w: %s", errRefused, strconv.Itoa(status))
		default:
			t.s.SetDeadline(time.Time{})
			return nil
		}
	}
}

// listen reads the stream, a piece at a time.
func (t *tunnel) listen() {
	for {
		bytes, end, err := t.s.ReadBody()
		select {
		case t.pieces <- piece{bytes, end, err}:
		case <-t.closed:
			return
		}
		if end || err != nil {
			return
		}
		select {
		case <-t.taken:
		case <-t.closed:
			return
		}
	}
}

// Read implements net.Conn.
func (t *tunnel) Read(p []byte) (int, error) {
	for len(t.rest) == 0 {
		if t.over != nil {
			return 0, t.over
		}
		if t.holds {
			select {
			case t.taken <- struct{}{}:
				t.holds = false
			case <-t.closed:
				return 0, net.ErrClosed
			}
		}
		select {
		case next := <-t.pieces:
			t.take(next)
		case <-t.closed:
			return 0, net.ErrClosed
		case <-t.late.passed():
			return 0, os.ErrDeadlineExceeded
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *tunnel) take(next piece) {
	t.rest, t.over = next.bytes, next.err
	t.holds = next.err == nil && !next.end
	if next.end {
		t.over = io.EOF
		t.ended.Store(true)
	}
}

// Write implements net.Conn.
func (t *tunnel) Write(p []byte) (int, error) {
	if err := t.s.WriteBody(p, false); err != nil {
		return 0, err
	}
	if err := t.s.Flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite ends the way to the upstream.
func (t *tunnel) CloseWrite() error {
	if t.wrote.Swap(true) {
		return nil
	}
	if err := t.s.WriteBody(nil, true); err != nil {
		return err
	}
	return t.s.Flush()
}

// Close implements net.Conn: what is under way both ways ends. The place on the proxy's connection is given back by release.
func (t *tunnel) Close() error {
	t.once.Do(func() {
		close(t.closed)
		if !t.ended.Load() || !t.wrote.Load() {
			t.s.Abort()
		}
	})
	return nil
}

// release gives the place back, once nobody reads or writes.
func (t *tunnel) release() {
	_ = t.Close()
	<-t.read
	t.lease.Close(time.Now())
}

// LocalAddr implements net.Conn.
func (t *tunnel) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(t.lease.Info().Local) }

// RemoteAddr implements net.Conn: it is the proxy's.
func (t *tunnel) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(t.x.Upstream.Endpoint.Address)
}

// SetDeadline implements net.Conn, for reads: nobody bounds writes.
func (t *tunnel) SetDeadline(at time.Time) error { return t.SetReadDeadline(at) }

// SetReadDeadline implements net.Conn.
func (t *tunnel) SetReadDeadline(at time.Time) error {
	t.late.move(at)
	return nil
}

// SetWriteDeadline implements net.Conn. The stream's own bounds hold.
func (t *tunnel) SetWriteDeadline(time.Time) error { return nil }

// deadline is a moment that those who wait are told of.
type deadline struct {
	mu    sync.Mutex
	over  chan struct{} // closes at the moment
	timer *time.Timer
	set   int // how often it was moved
}

func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

func (d *deadline) channel() chan struct{} {
	if d.over == nil {
		d.over = make(chan struct{})
	}
	return d.over
}

// move moves the moment; zero: never.
func (d *deadline) move(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set++; d.timer != nil {
		d.timer.Stop()
	}
	select {
	case <-d.channel():
		d.over = nil
	default:
	}
	if at.IsZero() {
		return
	}
	turn := d.set
	if wait := time.Until(at); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { d.expire(turn) })
		return
	}
	close(d.channel())
}

// expire tells of the moment, unless it was moved meanwhile.
func (d *deadline) expire(turn int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set == turn {
		close(d.channel())
	}
}
