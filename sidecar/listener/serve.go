package listener

import (
	"cmp"
	"context"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// session is a connection while it is open.
type session struct {
	m         *Manager
	conn      net.Conn // as accepted
	facts     *exchange.Connection
	socket    string           // the listener that accepted it
	listener  string           // the one that serves it
	live      *config.Live     // where at was found
	at        *config.Listener // that listener
	direction exchange.Direction
	admitted  atomic.Pointer[admission]

	once sync.Once
	why  atomic.Uint32
	idle atomic.Bool // it waits for its client to ask for something
	next func()      // what it goes on with; nil: it has ended
	age  *time.Timer // ends it once it is too old; nil: it may be of any age. Guarded by the Manager's mu
}

// admission is how a connection was let in: later configurations may revoke that.
type admission struct {
	facts    exchange.Connection
	listener string
}

// Idle notes whether the session waits for its client to ask for something: ending it then cuts nothing.
func (s *Session) Idle(idle bool) {
	if s.open != nil {
		s.open.idle.Store(idle)
	}
}

// end cuts the connection.
func (s *session) end(o exchange.Outcome) {
	s.once.Do(func() {
		s.why.Store(uint32(o))
		_ = s.conn.Close()
	})
}

// cut returns why the connection was cut from outside, OK where it was not.
func (s *session) cut() exchange.Outcome { return exchange.Outcome(s.why.Load()) }

// Cut returns why the connection was cut from outside, OK where it was not.
func (s *Session) Cut() exchange.Outcome {
	if s.open == nil {
		return exchange.OK
	}
	return s.open.cut()
}

// serve takes a connection from accept to its end, or until it rests.
func (m *Manager) serve(c net.Conn, name string) {
	s := &session{m: m, conn: c, socket: name, listener: name}
	defer m.leave(s)
	m.begin(s)
}

// resume goes on with a session that has rested.
func (m *Manager) resume(s *session) {
	defer m.leave(s)
	next := s.next
	s.next = nil
	next()
}

// leave ends what a goroutine does for a session: it goes on in another, or has ended.
func (m *Manager) leave(s *session) {
	if v := recover(); v != nil {
		m.opts.Log.Error("recovered from a panic while serving a connection", "listener", s.socket, "panic", v, "stack", string(debug.Stack()))
		m.opts.Recorder.Panicked()
		_ = s.conn.Close()
		s.next = nil
	}
	if s.next != nil {
		go m.resume(s)
		return
	}
	m.forget(s)
	m.open.Add(-1)
}

// begin finds out who has come, and for what.
func (m *Manager) begin(s *session) {
	s.live = m.opts.Store.Load()
	l := s.live.Listener(s.socket)
	if l == nil {
		_ = s.conn.Close()
		return
	}
	if !m.arrive(s, l) {
		m.refuse(s, exchange.NotCaptured)
		return
	}
	if l = m.hand(s, l); l == nil {
		m.refuse(s, exchange.BlackHole)
		return
	}
	s.at = l
	s.direction = s.facts.Via.Direction
	if !m.remember(s, l) {
		m.excess(s, l)
		return
	}
	first, o := m.introduce(s, l)
	if o != exchange.OK {
		m.refuse(s, o)
		return
	}
	m.route(s, l, first)
}

// arrive notes the connection's facts; false: refused, since a capture port is for captured connections only.
func (m *Manager) arrive(s *session, l *config.Listener) bool {
	local := addrPort(s.conn.LocalAddr())
	s.facts = &exchange.Connection{
		ID: m.nextID.Add(1), Via: l.Via, Start: time.Now(), Transport: "raw_buffer", Cut: s.cut,
		Source: addrPort(s.conn.RemoteAddr()), Local: local, Destination: local,
	}
	if !l.RestoreDst && !l.UseOriginalDst {
		s.facts.Called = true
		return true
	}
	if dst, ok := originalDst(s.conn); ok {
		s.facts.Destination = dst
	}
	direct := s.facts.Destination == local
	return !l.Capture || !direct || s.facts.Source.Addr().IsLoopback()
}

// choose finds the chain for the session in the configuration in force. Clients take their time to speak: what was in force when they
// came must not decide about them.
func (m *Manager) choose(s *session) *config.FilterChain {
	l := m.current(s)
	if l == nil {
		return nil
	}
	chain := l.Choose(s.facts)
	if chain != nil {
		s.facts.Chain = chain.Name
	}
	return chain
}

// route looks at the first bytes, chooses the chain and runs the session. first is what has been read already: after a PROXY header, or what a
// client that had been silent said at last.
func (m *Manager) route(s *session, l *config.Listener, first []byte) {
	p := &peeker{conn: s.conn, buf: first}
	silent, o := m.inspect(s, l, p)
	if o != exchange.OK {
		m.refuse(s, o)
		return
	}
	s.facts.Details = ""
	chain := m.choose(s)
	if chain == nil {
		m.refuse(s, exchange.BlackHole)
		return
	}
	sess := &Session{Conn: s.conn, Facts: s.facts, Drain: m.drains[s.direction], open: s}
	if sess.Drain == nil {
		sess.Drain = m.drains[exchange.Outbound]
	}
	if chain.TLS != nil {
		if o := m.secure(sess, chain, p); o != exchange.OK {
			m.refuse(s, o)
			return
		}
		if chain = m.choose(s); chain == nil || chain.TLS == nil {
			m.refuse(s, exchange.BlackHole)
			return
		}
	}
	sess.Binding = config.NewBinding(m.opts.Store, s.listener, s.facts)
	if !m.admit(sess, chain) {
		_ = sess.Conn.Close()
		return
	}
	if silent {
		sess.Reconsider = func(first []byte) (func(), []byte) { return m.reconsider(s, chain, first) }
	}
	m.run(sess, chain, p)
}

// reconsider chooses again once a client that had been silent has spoken; nil: the chain stays. To choose it may have to read more than
// first: it returns all that was read.
func (m *Manager) reconsider(s *session, chain *config.FilterChain, first []byte) (func(), []byte) {
	p := &peeker{conn: s.conn, buf: slices.Clone(first)}
	facts := *s.facts
	s.facts = &facts // the session that ends here keeps the old ones
	l := m.current(s)
	if l == nil {
		return func() { m.refuse(s, exchange.BlackHole) }, nil
	}
	if _, o := m.inspect(s, l, p); o != exchange.OK {
		return func() { m.refuse(s, o) }, nil
	}
	if m.choose(s) == chain {
		return nil, p.buf
	}
	return func() { m.route(s, l, p.buf) }, nil
}

// secure handshakes as the server.
func (m *Manager) secure(sess *Session, chain *config.FilterChain, p *peeker) exchange.Outcome {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(chain.Handshake, m.opts.Handshake))
	defer cancel()
	if raw, ok := p.conn.(sock.Socket); ok && chain.HTTP != nil {
		if c, err := sock.New(raw); err == nil {
			p.conn = c
		}
	}
	conn, sec, err := chain.TLS.Server(ctx, p.replay())
	if err != nil {
		m.opts.Log.Debug("handshaking with a client", "listener", sess.open.listener, "chain", chain.Name,
			"source", sess.Facts.Source, "error", err)
		sess.Facts.Failure = err.Error()
		return exchange.HandshakeFailed
	}
	p.conn, p.buf = conn, nil
	sess.Conn, sess.Facts.Security = conn, sec
	if sec != nil && sec.SNI != "" {
		sess.Facts.SNI = sec.SNI
	}
	return exchange.OK
}

// admit runs the L4 filters and records a refusal. What is put in force meanwhile judges as well: a swap before the session was admitted
// would not have seen it, and one after it does.
func (m *Manager) admit(sess *Session, chain *config.FilterChain) bool {
	c := sess.Facts
	o := exchange.OK
	for _, f := range chain.Network {
		if o = f.Connection(c); o != exchange.OK {
			break
		}
	}
	if o == exchange.OK {
		sess.open.admitted.Store(&admission{*c, sess.open.listener})
		if !sess.open.revoked(m.opts.Store.Load()) {
			return true
		}
		o = exchange.Revoked
	}
	c.Outcome, c.Flags, c.Duration = o, c.Flags|o.Flag(), time.Since(c.Start)
	m.opts.Recorder.Opened(c)
	m.opts.Recorder.Closed(c, 0, 0)
	return false
}

// run hands the session to its protocol.
func (m *Manager) run(sess *Session, chain *config.FilterChain, p *peeker) {
	if chain.TCP != nil {
		sess.Peeked, p.buf = p.buf, nil
		m.opts.Servers.TCP.Serve(sess)
		return
	}
	server := m.opts.Servers.HTTP1
	if most := chain.HTTP.MaxConnection; most > 0 {
		sess.Ends = sess.Facts.Start.Add(most)
	}
	two, ok := m.speaksHTTP2(sess, chain.HTTP, p)
	if two {
		server = m.opts.Servers.HTTP2
	}
	if server == nil || !ok {
		_ = sess.Conn.Close()
		return
	}
	sess.Peeked, p.buf = p.buf, nil
	if !two && !sess.Ends.IsZero() {
		m.retire(sess.open, time.Until(sess.Ends)+chain.HTTP.DrainTimeout)
	}
	server.Serve(sess)
}

// lookAgain is how soon a connection that is too old, and in use, is looked at again.
const lookAgain = time.Second

// retire ends a connection after d, or as soon as it is idle then.
func (m *Manager) retire(s *session, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.age = time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, open := m.sessions[s]; !open {
			return
		}
		if s.idle.Load() {
			s.end(exchange.Drained)
			return
		}
		s.age.Reset(lookAgain)
	})
}
