package http1

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// visit is a client's connection for as long as it is open, whether it has a conn or rests: what has to stay meanwhile.
type visit struct {
	sess  *listener.Session
	sock  *sock.Conn // nil where there is no socket of ours below
	bound *config.Bound

	patience time.Duration // how long it waits for a request before it rests
}

// patience is how long a connection at first waits for another request before it rests, and most how long it waits where its client came back soon
// every time. To rest and to wake cost as much as to parse a request: it must not happen with each.
const (
	patience     = 32 * time.Millisecond
	mostPatience = 4 * time.Second
)

// begins readies c for a connection that has something to do.
func (c *conn) begins(v visit, first []byte) {
	c.visit = v
	if c.sock == nil {
		c.listen()
	}
	if c.sock != nil {
		c.sock.Sent = func() { c.sess.Idle(c.src.r == c.src.w) } // TLS may have had part of the next request
	}
	c.src.init(c.sess.Conn, first)
	c.sink = sink{nc: c.sess.Conn, watch: &c.watch}
	c.f, c.out = framing{}, out{}
	c.whole, c.closing, c.aborted, c.orphan, c.head, c.waiting, c.idles, c.rests, c.unbound = false, false, false, false, false, false, false, false, false
	c.armed = time.Time{}
	c.body.begin(none, 0, nil)
	c.stopped.Store(false)
	c.watch.clock = &c.sentry.now
	c.sentry.add(c)
}

// listen finds the socket, so that an answer can leave with the wait for the next request.
func (v *visit) listen() {
	if raw, ok := v.sess.Conn.(sock.Socket); ok && sock.Of(v.sess.Conn) == nil {
		if s, err := sock.New(raw); err == nil {
			v.sess.Conn = s
		}
	}
	v.sock = sock.Of(v.sess.Conn)
}

// nobody is never written.
var nobody exchange.Connection

// forget parts c from its connection.
func (c *conn) forget() {
	c.Unwatch()
	c.sentry.remove(c)
	if c.sock != nil {
		c.sock.Sent = nil
	}
	c.sink.done()
	c.src.release()
	c.src.nc, c.sink.nc = nil, nil
	c.x.Reset(&nobody)
	c.f = framing{} // with what it borrows
	c.visit = visit{}
}

// idle is how long the client may have no request.
func (v *visit) idle() time.Duration {
	if v.bound != nil && v.bound.Chain.HTTP != nil {
		if t := v.bound.Chain.HTTP.IdleTimeout; t > 0 {
			return t
		}
	}
	return defaultIdle
}

// mayRest says whether there is a time between the last request and the idle timeout at which the connection can rest.
func (v *visit) mayRest() bool { return v.sock != nil && v.patience < v.idle()/2 }

// wake waits until the client says something, or its time is over, and goes on. It runs on a stack of its own, and must not need much of it.
func (s *Server) wake(v visit) {
	since := time.Now()
	_ = v.sess.Conn.SetReadDeadline(since.Add(v.idle() - v.patience))
	if err := v.sock.Await(); err != nil {
		_ = v.sess.Conn.Close()
		return
	}
	if time.Since(since) < mostPatience {
		v.patience = min(4*v.patience, mostPatience)
	} else {
		v.patience = patience
	}
	s.serve(v, nil)
}
