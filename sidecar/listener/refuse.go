package listener

import (
	"net"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// told is how many connections above a cap may be open for as long as it takes to tell their clients why they are refused.
const told = 128

// hearing is how long such a connection may take to say what it is.
const hearing = 500 * time.Millisecond

// Refuser is a Server that can tell a client why its connection is not served.
type Refuser interface {
	// Refuse answers with the outcome, at once and without reading what the client asks, and closes the connection.
	Refuse(conn net.Conn, o exchange.Outcome)
}

// refuse closes a connection that no chain serves, and has it recorded unless its client has simply gone.
func (m *Manager) refuse(s *session, o exchange.Outcome) {
	if cut := s.cut(); cut != exchange.OK {
		o = cut
	}
	if o != exchange.ClientGone && o != exchange.Drained {
		c := s.facts
		c.Outcome, c.Flags, c.Duration = o, c.Flags|o.Flag(), time.Since(c.Start)
		m.opts.Recorder.Refused(c)
	}
	_ = s.conn.Close()
}

// excess refuses a connection beyond a cap. Clients of plain HTTP are told.
func (m *Manager) excess(s *session, l *config.Listener) {
	defer m.refuse(s, exchange.ConnectionCap)
	defer m.over.Add(-1)
	over := m.over.Add(1)
	if r, ok := m.opts.Servers.HTTP1.(Refuser); ok && over <= told && m.plainHTTP(s, l) {
		r.Refuse(s.conn, exchange.ConnectionCap)
	}
}

// crowded refuses a connection beyond the cap on all of them.
func (m *Manager) crowded(c net.Conn, name string) {
	l := m.opts.Store.Load().Listener(name)
	if l == nil {
		_ = c.Close()
		return
	}
	s := &session{m: m, conn: c, socket: name, listener: name}
	if !m.arrive(s, l) {
		m.refuse(s, exchange.NotCaptured)
		return
	}
	m.excess(s, m.pass(s, l, m.handoffs())) // on demand, what is not there is not asked for: that would hold the connection
}

// plainHTTP says whether a connection that is refused would be one of HTTP/1.1 without TLS. Where chains differ in that, its first bytes decide, if they come
// in time.
func (m *Manager) plainHTTP(s *session, l *config.Listener) bool {
	if l.Proxied != config.NotProxied {
		return only(l, isPlainHTTP)
	}
	if !only(l, isPlainHTTP) && !m.hear(s, l) {
		return false
	}
	return isPlainHTTP(l.Choose(s.facts)) && !slices.Contains(s.facts.Offered, "h2c")
}

// hear has the inspectors look at what the client says; false: it said nothing in time.
func (m *Manager) hear(s *session, l *config.Listener) bool {
	brief := *l
	brief.Inspect.Timeout, brief.Inspect.ContinueOnTime = hearing, false
	p := &peeker{conn: s.conn}
	defer func() { Reuse(p.buf) }()
	in := m.inspection(s, &brief, p)
	in.waited = true // for the first byte, too
	_, o := in.run()
	return o == exchange.OK
}

func isPlainHTTP(c *config.FilterChain) bool { return c != nil && c.HTTP != nil && c.TLS == nil }

// only says whether all that a listener serves is of a kind.
func only(l *config.Listener, kind func(*config.FilterChain) bool) bool {
	for _, c := range l.Chains {
		if !kind(c) {
			return false
		}
	}
	return kind(l.Default) || l.Default == nil && len(l.Chains) > 0
}

// remember makes a session one of those that are open; false: the listener that accepted it has as many as it may, whomever it hands them to.
func (m *Manager) remember(s *session, l *config.Listener) bool {
	limit := l.MaxConnections
	if limit == 0 {
		limit = m.opts.PerListener
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if limit > 0 && m.counts[s.socket] >= limit {
		return false
	}
	m.counts[s.socket]++
	m.sessions[s] = struct{}{}
	return true
}

func (m *Manager) forget(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.sessions[s]; !ok {
		return
	}
	delete(m.sessions, s)
	if s.age != nil {
		s.age.Stop()
	}
	if m.counts[s.socket]--; m.counts[s.socket] == 0 {
		delete(m.counts, s.socket)
	}
}
