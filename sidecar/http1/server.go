package http1

import (
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/forward"
	"github.com/heddle-mesh/heddle/sidecar/listener"
)

// Options are what a Server needs from outside.
type Options struct {
	Proxy *forward.Proxy
	Log   *slog.Logger
}

// Server serves HTTP/1 sessions.
type Server struct {
	opts   Options
	conns  sync.Pool // *conn: for connections with something to do
	sentry sentry
}

// NewServer returns a Server.
func NewServer(o Options) *Server {
	s := &Server{opts: o}
	s.conns.New = func() any {
		c := &conn{proxy: o.Proxy, sentry: &s.sentry}
		c.body.src = &c.src
		return c
	}
	return s
}

const (
	// defaultIdle is how long a client may keep a connection without a request, where the listener does not say.
	defaultIdle = time.Hour
	// edgeHead is how long a head that has begun may take at an edge, where the listener does not say. Envoy waits for ever;
	// nobody honest needs as long as this.
	edgeHead = time.Minute
	// pressedStall is how long a client may take nothing of what is there for it where memory is full.
	pressedStall = time.Minute
)

// Serve serves requests until the client or the configuration ends the connection.
func (s *Server) Serve(sess *listener.Session) {
	first := sess.Peeked
	sess.Peeked = nil
	v := visit{sess: sess, bound: sess.Binding.Current(), patience: patience} // bound may be nil: then the first request tells
	if !sess.CanRest() {
		v.patience = math.MaxInt64
	}
	s.serve(v, first)
}

// serve serves requests until the connection ends or rests.
func (s *Server) serve(v visit, first []byte) {
	c := s.conns.Get().(*conn)
	c.begins(v, first)
	over := false
	defer func() {
		if !over { // a panic: the memory is not used again
			c.sentry.remove(c)
			c.close()
		}
	}()
	for c.serve() {
	}
	over = true
	if c.rests {
		v := c.visit
		c.sink.stall = 0
		c.sink.extend() // whoever writes next knows of no deadline
		v.sess.Idle(true)
		v.sess.Rest(func() { s.wake(v) })
	} else {
		c.close()
	}
	c.forget()
	s.conns.Put(c)
}

// conn is one client connection and, being exchange.Downstream, the client's half of its current exchange. It owns all
// memory that a request needs.
type conn struct {
	visit
	proxy  *forward.Proxy
	sentry *sentry
	x      exchange.Exchange
	src    source
	sink   sink
	f      framing
	body   body
	out    out

	whole   bool // the request has been read to its end
	closing bool // the connection ends with this exchange
	aborted bool // nothing more can be written
	orphan  bool // the listener or its chain is gone: this exchange is the last one
	head    bool // the request is HEAD
	waiting bool // the client waits for 100 before it sends the body
	idles   bool // it is the idle timeout that bounds a head that has begun
	rests   bool // the client has asked for nothing for so long that the connection can do without memory
	armed   time.Time

	stopped atomic.Bool // StopBody was called
	unbound bool        // the body is being read, without a deadline
	watch   watch
}

func (c *conn) close() {
	_ = c.Flush()
	if !c.aborted && (!c.body.over() || c.src.r < c.src.w) {
		c.linger()
	}
	_ = c.sess.Conn.Close()
}

// serve reads one request head and serves it; false ends the connection.
func (c *conn) serve() bool {
	c.arm()
	n, err := c.readHead()
	c.sess.Idle(false)
	if c.sock != nil && c.sock.Holds() { // TLS had the next request already
		if c.sock.Release() != nil {
			c.aborted = true
			return false
		}
	}
	if !c.bind() || err == errGone {
		c.aborted = true
		return false
	}
	c.begin()
	if err == nil {
		err = parseRequest(c.src.unread()[:n], &c.x.Request, &c.f, c.limits())
	}
	c.x.Start = time.Now()
	if err != nil {
		c.refuse(err)
		return false
	}
	c.src.r += n
	c.src.keep = c.src.r
	c.frame()
	if c.f.http10 && !c.bound.Chain.HTTP.HTTP10 {
		c.closing = true
		c.proxy.Refuse(&c.x, c, c.bound, exchange.OldProtocol)
		return false
	}
	c.proxy.Serve(&c.x, c, c.bound)
	return c.end()
}

// bind takes the configuration in force for the next exchange; false: what the client says does not count any more. Where no chain would
// take the connection today, an inbound one has lost its permission; any other is served once more, by the configuration of the last
// exchange, and so told to go.
func (c *conn) bind() bool {
	now := c.sess.Binding.Current()
	if now != nil && now.Chain.HTTP != nil {
		c.bound = now
		return true
	}
	c.orphan = c.sess.Facts.Via.Direction != exchange.Inbound && c.bound != nil && c.bound.Chain.HTTP != nil
	return c.orphan
}

func (c *conn) limits() int {
	if m := c.bound.Chain.HTTP.MaxHeaders; m > 0 {
		return m
	}
	return maxFields
}

func (c *conn) headLimit() int {
	if c.bound != nil && c.bound.Chain.HTTP != nil {
		if m := c.bound.Chain.HTTP.MaxHead; m > 0 {
			return m
		}
	}
	return maxHead
}

// begin readies everything for the next request.
func (c *conn) begin() {
	c.x.Reset(c.sess.Facts)
	c.x.Protocol = exchange.HTTP1
	c.f = framing{}
	c.out = out{}
	c.whole, c.closing, c.head, c.waiting = false, false, false, false
	c.body.begin(none, 0, nil)
	c.stopped.Store(false)
	c.unbound = false
}

// end tidies up after an exchange; true: another may follow.
func (c *conn) end() bool {
	c.Unwatch()
	if c.closing || c.aborted || !c.body.over() || !c.out.over || c.sink.err != nil {
		return false
	}
	c.src.done()
	c.sink.done()
	return true
}

// errGone says that the client has gone, or idled too long, between requests.
var errGone = io.EOF

// readHead reads until a whole head is buffered and returns its length. Empty lines before it are skipped.
func (c *conn) readHead() (int, error) {
	scanned, most, begun := 0, c.headLimit(), false
	c.src.most = most
	for {
		p := c.src.unread()
		for len(p) >= 2 && scanned == 0 && p[0] == '\r' && p[1] == '\n' {
			c.src.r += 2
			p = p[2:]
		}
		n, next, ok := headEnd(p, scanned)
		switch {
		case !ok:
			return 0, exchange.ErrProtocol
		case n > most || n == 0 && len(p) > most:
			return 0, exchange.ErrTooLarge
		case n > 0:
			return n, nil
		}
		if scanned = next; scanned > len(p) {
			scanned = len(p)
		}
		switch {
		case len(p) > 0 && !begun:
			begun = true
			c.sess.Idle(false) // draining waits for the rest, as long as it waits for anybody
			c.hurry()
		case len(p) == 0 && (c.sock == nil || !c.sock.Holds()): // else once that is sent
			c.sess.Idle(true)
		}
		if err := c.fill(len(p) == 0); err != nil {
			return 0, err
		}
	}
}

// fill reads once more for a head; idle: it has not begun.
func (c *conn) fill(idle bool) error {
	if idle {
		c.waits()
	}
	err := c.src.fill()
	kicked := idle && c.came()
	switch {
	case err == nil && kicked:
		c.arm()
		return nil
	case err == nil:
		return nil
	}
	err = ioError(err)
	switch {
	case err == exchange.ErrTimeout && kicked && c.sock.Holds(): // the last answer has not left: it was long before its turn came
		if c.sock.Release() != nil {
			return errGone
		}
		c.arm()
		return nil
	case err == exchange.ErrTimeout && kicked:
		c.rests = true
	case err == exchange.ErrTooLarge, err == exchange.ErrTimeout && !idle:
		return err
	}
	return errGone
}

// arm sets the deadline for the next head: the idle timeout, renewed only when a good part of it has passed, since that
// costs as much as parsing.
func (c *conn) arm() {
	idle, now := c.idle(), c.x.End
	if now.IsZero() {
		now = time.Now()
	}
	if !c.armed.IsZero() && now.Sub(c.armed) < idle/16 {
		return
	}
	c.armed = now
	_ = c.sess.Conn.SetReadDeadline(now.Add(idle))
}

// hurry bounds the rest of a head that has begun to arrive.
func (c *conn) hurry() {
	most, idle := time.Duration(0), time.Duration(0)
	if c.bound != nil && c.bound.Chain.HTTP != nil {
		most, idle = c.bound.Chain.HTTP.HeadTimeout, c.bound.Chain.HTTP.StreamIdle
	}
	if most == 0 && c.sess.Facts.Via.Gateway {
		most = edgeHead
	}
	if c.idles = idle > 0 && (most == 0 || idle < most); c.idles {
		most = idle
	}
	if most > 0 {
		c.armed = time.Time{} // the next wait is for a head that has not begun
		_ = c.sess.Conn.SetReadDeadline(time.Now().Add(most))
	}
}

// frame decides how the request's body is delimited, and what the connection and upgrade fields mean.
func (c *conn) frame() {
	x, f := &c.x, &c.f
	if f.http10 {
		x.Protocol = exchange.HTTP10
	}
	c.head = x.Request.Method.Is("HEAD")
	c.closing = f.close || f.http10 && !f.keepAlive
	c.waiting = x.Request.Get("expect").EqualFold("100-continue")
	switch {
	case x.Request.Method.Is("CONNECT"):
		x.Upgrade = x.Request.Method
		if f.chunked || f.length > 0 { // a body there means nothing (RFC 9110, 9.3.6): what follows is no request
			c.closing = true
		}
	case f.upgrades():
		x.Upgrade = f.upgrade
		x.Request.AddView(upgradeName, f.upgrade)
	}
	switch {
	case x.Upgrade != nil:
	case f.chunked:
		c.body.begin(chunked, 0, &x.Trailers)
	case f.length > 0:
		c.body.begin(length, f.length, nil)
	}
}

// upgradeName is never written.
var upgradeName = exchange.View("upgrade")

// refuse answers a head that is no head.
func (c *conn) refuse(err error) {
	o := exchange.BadRequest
	switch err {
	case exchange.ErrProtocol:
		c.x.Details = c.f.why
	case exchange.ErrTooLarge:
		o = exchange.HeadTooLarge
	case exchange.ErrTimeout:
		if o = exchange.RequestTimeout; c.idles {
			o, c.x.Reply.Status = exchange.IdleTimeout, exchange.RequestTimeout.Status()
		}
	}
	c.x.Request.Reset() // nothing of it can be trusted
	c.closing = true
	c.proxy.Refuse(&c.x, c, c.bound, o)
	c.Unwatch()
}
