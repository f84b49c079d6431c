package listener

import (
	"context"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// session is a connection while it is open.
type session struct {
	m        *Manager
	conn     net.Conn // as accepted
	facts    *exchange.Connection
	listener string
	// admitted is a copy of the facts by which it has been let in: later configurations may revoke that.
	admitted atomic.Pointer[exchange.Connection]

	once sync.Once
	why  atomic.Uint32
	idle atomic.Bool // it waits for its client to ask for something
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

// revoked judges an open connection by another configuration. Permission is a matter of inbound listeners; what leaves
// a workload is not let in by anybody.
func (s *session) revoked(live *config.Live) bool {
	facts := s.admitted.Load()
	if facts == nil || facts.Via.Direction != exchange.Inbound {
		return false
	}
	l := live.Listener(s.listener)
	if l == nil {
		return false
	}
	again := *facts // filters may write into what they judge
	chain := l.Choose(&again)
	if chain == nil || (chain.TLS != nil) != (again.Security != nil) {
		return true
	}
	for _, f := range chain.Network {
		if f.Connection(&again) != exchange.OK {
			return true
		}
	}
	return false
}

// serve takes a connection from accept to its end.
func (m *Manager) serve(c net.Conn, name string) {
	s := &session{m: m, conn: c, listener: name}
	defer m.open.Add(-1)
	defer func() {
		if v := recover(); v != nil {
			m.opts.Log.Error("recovered from a panic while serving a connection", "listener", name, "panic", v, "stack", string(debug.Stack()))
			m.opts.Recorder.Panicked()
			_ = c.Close()
		}
		m.forget(s)
	}()
	l := m.opts.Store.Load().Listener(name)
	if l == nil || !m.arrive(s, l) {
		_ = c.Close()
		return
	}
	if l = m.hand(s, l); !m.remember(s, l) {
		_ = c.Close()
		return
	}
	m.route(s, l, nil)
}

func (m *Manager) remember(s *session, l *config.Listener) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	if l.MaxConnections > 0 {
		for o := range m.sessions {
			if o.listener == l.Name {
				n++
			}
		}
		if n >= l.MaxConnections {
			return false
		}
	}
	m.sessions[s] = struct{}{}
	return true
}

func (m *Manager) forget(s *session) {
	m.mu.Lock()
	delete(m.sessions, s)
	m.mu.Unlock()
}

// arrive notes the connection's facts; false: refused, since a capture port is for captured connections only.
func (m *Manager) arrive(s *session, l *config.Listener) bool {
	local := addrPort(s.conn.LocalAddr())
	s.facts = &exchange.Connection{
		ID: m.nextID.Add(1), Via: l.Via, Start: time.Now(), Transport: "raw_buffer", Cut: s.cut,
		Source: addrPort(s.conn.RemoteAddr()), Local: local, Destination: local,
	}
	if !l.RestoreDst && !l.UseOriginalDst {
		return true
	}
	if dst, ok := originalDst(s.conn); ok {
		s.facts.Destination = dst
	}
	direct := s.facts.Destination == local
	return !l.Capture || !direct || s.facts.Source.Addr().IsLoopback()
}

// handoff finds listeners by address, for one configuration.
type handoff struct {
	live *config.Live
	by   map[netip.AddrPort]*config.Listener
}

// hand gives the connection to the listener of its original destination: its exact address, else any address with its
// port, else it stays.
func (m *Manager) hand(s *session, l *config.Listener) *config.Listener {
	if !l.UseOriginalDst {
		return l
	}
	live := m.opts.Store.Load()
	h := m.handoff.Load()
	if h == nil || h.live != live {
		h = newHandoff(live)
		m.handoff.Store(h)
	}
	dst := s.facts.Destination
	any4 := netip.IPv4Unspecified()
	if dst.Addr().Is6() {
		any4 = netip.IPv6Unspecified()
	}
	next := h.by[dst]
	if next == nil {
		next = h.by[netip.AddrPortFrom(any4, dst.Port())]
	}
	if next == nil {
		return l
	}
	s.listener, s.facts.Via = next.Name, next.Via
	return next
}

func newHandoff(live *config.Live) *handoff {
	h := &handoff{live, map[netip.AddrPort]*config.Listener{}}
	for _, l := range live.Listeners {
		if !l.NoBind {
			continue
		}
		for _, a := range l.Binds {
			h.by[a] = l
		}
	}
	return h
}

// route looks at the first bytes, chooses the chain and runs the session. first is what a client that had been silent said
// at last.
func (m *Manager) route(s *session, l *config.Listener, first []byte) {
	p := &peeker{conn: s.conn, buf: first}
	silent, ok := m.inspect(s, l, p)
	if !ok {
		_ = s.conn.Close()
		return
	}
	chain := l.Choose(s.facts)
	s.facts.Details = ""
	if chain == nil {
		s.facts.Outcome = exchange.BlackHole
		_ = s.conn.Close()
		return
	}
	s.facts.Chain = chain.Name
	sess := &Session{
		Conn: s.conn, Facts: s.facts, Drain: m.drains[s.facts.Via.Direction], open: s,
		Binding: config.NewBinding(m.opts.Store, s.listener, s.facts),
	}
	if sess.Drain == nil {
		sess.Drain = m.drains[exchange.Outbound]
	}
	if chain.TLS != nil && !m.secure(sess, chain, p) {
		_ = s.conn.Close()
		return
	}
	if !m.admit(sess, chain) {
		_ = sess.Conn.Close()
		return
	}
	facts := *s.facts
	s.admitted.Store(&facts)
	if silent {
		sess.Reconsider = func(first []byte) func() { return m.reconsider(s, l, chain, first) }
	}
	m.run(sess, chain, p)
}

// reconsider chooses again once a client that had been silent has spoken; nil: the chain stays.
func (m *Manager) reconsider(s *session, l *config.Listener, chain *config.FilterChain, first []byte) func() {
	p := &peeker{conn: s.conn, buf: slices.Clone(first)}
	facts := *s.facts
	s.facts = &facts // the session that ends here keeps the old ones
	if _, ok := m.inspect(s, l, p); !ok {
		return func() { _ = s.conn.Close() }
	}
	if l.Choose(s.facts) == chain {
		return nil
	}
	return func() { m.route(s, l, p.buf) }
}

// secure handshakes as the server.
func (m *Manager) secure(sess *Session, chain *config.FilterChain, p *peeker) bool {
	ctx, cancel := context.WithTimeout(context.Background(), m.opts.Handshake)
	defer cancel()
	conn, sec, err := chain.TLS.Server(ctx, p.replay())
	if err != nil {
		m.opts.Log.Debug("handshaking with a client", "listener", sess.open.listener, "chain", chain.Name,
			"source", sess.Facts.Source, "error", err)
		return false
	}
	p.conn, p.buf = conn, nil
	sess.Conn, sess.Facts.Security = conn, sec
	if sec != nil && sec.SNI != "" {
		sess.Facts.SNI = sec.SNI
	}
	return true
}

// admit runs the L4 filters and records a refusal.
func (m *Manager) admit(sess *Session, chain *config.FilterChain) bool {
	c := sess.Facts
	for _, f := range chain.Network {
		o := f.Connection(c)
		if o == exchange.OK {
			continue
		}
		c.Outcome, c.Flags, c.Duration = o, c.Flags|o.Flag(), time.Since(c.Start)
		m.opts.Recorder.Opened(c)
		m.opts.Recorder.Closed(c, 0, 0)
		return false
	}
	return true
}

// run hands the session to its protocol.
func (m *Manager) run(sess *Session, chain *config.FilterChain, p *peeker) {
	if chain.TCP != nil {
		sess.Peeked, p.buf = p.buf, nil
		m.opts.Servers.TCP.Serve(sess)
		return
	}
	server := m.opts.Servers.HTTP1
	if m.speaksHTTP2(sess, p) {
		server = m.opts.Servers.HTTP2
	}
	if server == nil {
		_ = sess.Conn.Close()
		return
	}
	sess.Peeked, p.buf = p.buf, nil
	server.Serve(sess)
}
