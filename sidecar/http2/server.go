package http2

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http2/block"
	"github.com/heddle-mesh/heddle/sidecar/listener"
)

// Handler takes exchanges through their phases. forward.Proxy is one.
type Handler interface {
	Serve(x *exchange.Exchange, d exchange.Downstream, b *config.Bound)
	Refuse(x *exchange.Exchange, d exchange.Downstream, b *config.Bound, o exchange.Outcome)
}

// ServerOptions are what a Server needs from outside.
type ServerOptions struct {
	Handler  Handler
	Recorder exchange.Recorder // Panicked and Malformed are called
	Log      *slog.Logger
	// Overloaded says whether memory is full; nil: it never is.
	Overloaded func() bool
}

// Server serves sessions that speak HTTP/2, after TLS or with prior knowledge. It is a listener.Server.
type Server struct {
	opts   ServerOptions
	mem    *memory
	drains drains
	alarm  alarm
	clock  func() time.Time
}

// NewServer returns a Server.
func NewServer(o ServerOptions) *Server {
	return &Server{opts: o, mem: &memory{full: o.Overloaded}, alarm: alarm{o.Recorder, o.Log}, clock: time.Now}
}

// Serve runs a session to its end and closes its connection.
func (s *Server) Serve(sess *listener.Session) {
	b := sess.Binding.Current()
	if b == nil || b.Chain.HTTP == nil {
		_ = sess.Conn.Close()
		return
	}
	nc := sess.Conn
	if len(sess.Peeked) > 0 {
		nc = &peeked{Conn: nc, first: sess.Peeked}
	}
	sc := newServerConn(s, sess, newConn(nc, s.mem, serverLimits(b.Chain.HTTP), s.alarm))
	sc.start("", false) // first of all: nothing may go out before our settings
	leave := s.drains.join(sess.Drain, sc)
	if !sess.Ends.IsZero() {
		age := time.AfterFunc(time.Until(sess.Ends), sc.expire)
		defer age.Stop()
	}
	sc.serve()
	leave()
}

func serverLimits(h *config.HTTP) limits {
	l := limits{streams: h.MaxStreams, head: h.MaxHead, fields: h.MaxHeaders, idle: h.IdleTimeout, block: h.HeadTimeout, window: clientWindow, stall: h.StreamIdle}
	if l.streams == 0 {
		l.streams = defaultStreams
	}
	if l.head == 0 {
		l.head = defaultHead
	}
	if l.fields == 0 {
		l.fields = defaultFields
	}
	if l.idle == 0 {
		l.idle = defaultIdle
	}
	if l.block == 0 {
		l.block = handshakeTimeout
	}
	return l
}

// peeked is a connection of which some bytes have been read already.
type peeked struct {
	net.Conn
	first []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.first)
	p.first = p.first[n:]
	return n, nil
}

// serverConn is a client's connection.
type serverConn struct {
	*conn
	server  *Server
	session *listener.Session
	ready   []*serverStream // heads that have arrived since the reader last waited

	// guarded by conn.mu
	last     uint32 // the highest stream that will be processed
	draining bool   // the first GOAWAY is out
	final    bool   // the second one is: nothing beyond last is processed
}

func newServerConn(s *Server, sess *listener.Session, c *conn) *serverConn {
	sc := &serverConn{conn: c, server: s, session: sess}
	c.side, c.now = sc, s.clock
	return sc
}

// serve reads until the connection ends, then waits for the streams in flight.
func (sc *serverConn) serve() {
	c := sc.conn
	err := sc.preface()
	if err == nil {
		err = c.readSafely()
	}
	sc.pause()
	sc.count(err)
	c.end(err)
	c.mu.Lock()
	for len(c.streams) > 0 {
		c.ended.Wait()
	}
	c.mu.Unlock()
}

// count tells telemetry what the client did wrong, if that is what ends the connection.
func (sc *serverConn) count(err error) {
	ce, wrong := err.(connError)
	sc.mu.Lock()
	alive := sc.cause == nil
	sc.mu.Unlock()
	if wrong && alive {
		sc.alarm.malformed(ce.reason())
	}
}

func (sc *serverConn) preface() error {
	c := sc.conn
	_ = c.nc.SetReadDeadline(c.now().Add(handshakeTimeout))
	var b [len(preface)]byte
	if _, err := io.ReadFull(c.br, b[:]); err != nil {
		return err
	}
	if !bytes.Equal(b[:], []byte(preface)) {
		return connError{http2.ErrCodeProtocol, noPreface}
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.wake()
	c.mu.Unlock()
	return nil
}

func (sc *serverConn) known(id uint32) bool { return id != 0 && (id <= sc.last || sc.final) }

func (sc *serverConn) kind(id uint32, st *stream) block.Kind {
	switch {
	case st != nil:
		return block.Trailers
	case id <= sc.last || sc.final:
		return block.Ignored
	}
	return block.Request
}

// fresh begins a stream for a request head, unless the connection came to its end while the head was on the way.
func (sc *serverConn) fresh(id uint32, b *block.Decoder, end bool) error {
	c := sc.conn
	if id%2 == 0 {
		return violation("even stream from a client")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.Kind == block.Ignored || sc.final || c.cause != nil {
		if err := sc.closed(id); err != nil {
			return err
		}
		return c.spend(60, headersFlood) // as much as it had earned, and more
	}
	sc.last = id
	if sc.crowded() {
		if err := c.waste(1); err != nil {
			return err
		}
		sc.cut.add(id)
		return c.answer(func(p []byte) []byte { return appendReset(p, id, http2.ErrCodeRefusedStream) })
	}
	ss := sc.server.stream()
	ss.begin(sc, id, b, end)
	c.add(&ss.stream)
	c.got++
	sc.ready = append(sc.ready, ss)
	if b.Verdict == block.Malformed {
		return c.waste(5)
	}
	return nil
}

// pause starts the handlers of what has arrived: in most cases a small request is complete by now.
func (sc *serverConn) pause() {
	for i, ss := range sc.ready {
		go ss.runFn()
		sc.ready[i] = nil
	}
	sc.ready = sc.ready[:0]
}

func (sc *serverConn) gone(st *stream) {
	if st.quit {
		st.owner.x.Quit()
		return
	}
	st.owner.x.Cancel()
}

func (sc *serverConn) goneAway(uint32) {} // the client will close when it is done
func (sc *serverConn) grown()          {}

func (sc *serverConn) pong(data [8]byte) {
	if string(data[:]) == drainPing {
		sc.finish()
	}
}

// drainPing's answer says that everything the client had sent before it knew has arrived.
const drainPing = "farewell"

// drain begins a graceful end: no new streams, those that are open go on.
func (sc *serverConn) drain() {
	c := sc.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil || sc.draining {
		return
	}
	sc.draining = true
	b := c.buf()
	*b = appendGoAway(*b, lastStreamID, http2.ErrCodeNo, "")
	*b = appendPing(*b, [8]byte([]byte(drainPing)), false)
	c.wake()
	time.AfterFunc(farewell, func() {
		defer c.guard()
		c.mu.Lock()
		defer c.mu.Unlock()
		sc.finish()
	})
}

// expire drains a connection that is too old.
func (sc *serverConn) expire() {
	defer sc.guard()
	sc.drain()
}

// finish says which streams will be the last. The lock is held.
func (sc *serverConn) finish() {
	c := sc.conn
	if c.cause != nil || sc.final {
		return
	}
	sc.final = true
	b := c.buf()
	*b = appendGoAway(*b, sc.last, http2.ErrCodeNo, "")
	c.wake()
	if len(c.streams) == 0 {
		sc.empty()
	}
}

func (sc *serverConn) empty() {
	if sc.final {
		sc.die(http2.ErrCodeNo, "", errClosed)
	}
}

// drains has the connections of each Drain told when it begins, with one goroutine per Drain.
type drains struct {
	mu sync.Mutex
	of map[*listener.Drain]*drainGroup
}

type drainGroup struct {
	conns map[*serverConn]struct{}
	stop  chan struct{}
}

// join registers a connection; the function returned ends that.
func (d *drains) join(dr *listener.Drain, sc *serverConn) (leave func()) {
	if dr == nil {
		return func() {}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.of[dr]
	if g == nil {
		g = &drainGroup{conns: map[*serverConn]struct{}{}, stop: make(chan struct{})}
		if d.of == nil {
			d.of = map[*listener.Drain]*drainGroup{}
		}
		d.of[dr] = g
		go d.watch(dr, g)
	}
	g.conns[sc] = struct{}{}
	if dr.Begun() {
		go sc.drain()
	}
	return func() { d.leave(dr, g, sc) }
}

func (d *drains) leave(dr *listener.Drain, g *drainGroup, sc *serverConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(g.conns, sc)
	if len(g.conns) == 0 {
		close(g.stop)
		delete(d.of, dr)
	}
}

func (d *drains) watch(dr *listener.Drain, g *drainGroup) {
	select {
	case <-g.stop:
		return
	case <-dr.Done():
	}
	d.mu.Lock()
	conns := make([]*serverConn, 0, len(g.conns))
	for sc := range g.conns {
		conns = append(conns, sc)
	}
	d.mu.Unlock()
	for _, sc := range conns {
		sc.drain()
	}
}
