package listener

import (
	"net"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// told is how many connections above a cap may be open for as long as it takes to tell their clients why they are refused.
const told = 128

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
	if r, ok := m.opts.Servers.HTTP1.(Refuser); ok && over <= told && plainHTTP(l) {
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
	m.arrive(s, l)
	m.excess(s, l)
}

// plainHTTP says whether all that a listener serves is HTTP without TLS.
func plainHTTP(l *config.Listener) bool {
	for _, c := range l.Chains {
		if c.HTTP == nil || c.TLS != nil {
			return false
		}
	}
	return l.Default == nil && len(l.Chains) > 0 || l.Default != nil && l.Default.HTTP != nil && l.Default.TLS == nil
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
