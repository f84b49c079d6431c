package listener

import (
	"net/netip"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// handoff finds listeners by address, for one configuration.
type handoff struct {
	live *config.Live
	by   map[netip.AddrPort]*config.Listener
}

// hand gives the connection to the listener of its original destination: its exact address, else any address with its
// port, else it stays. Nil: nobody could say in time which of these there are.
func (m *Manager) hand(s *session, l *config.Listener) *config.Listener {
	if !l.UseOriginalDst {
		return l
	}
	dst := s.facts.Destination
	h := m.handoffs()
	if h.by[dst] == nil && h.live.Settled != nil && dst != s.facts.Local {
		if h = m.settle(s); h == nil {
			return nil
		}
	}
	return m.pass(s, l, h)
}

// pass is hand where it is known which listeners there are.
func (m *Manager) pass(s *session, l *config.Listener, h *handoff) *config.Listener {
	if !l.UseOriginalDst {
		return l
	}
	dst := s.facts.Destination
	next := h.by[dst]
	if next == nil {
		next = h.by[netip.AddrPortFrom(unspecified(dst.Addr()), dst.Port())]
	}
	if next == nil {
		return l
	}
	s.listener, s.facts.Via = next.Name, next.Via
	return next
}

// unspecified is any address of a's family.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// handoffs are the listeners of the configuration in force.
func (m *Manager) handoffs() *handoff {
	live := m.opts.Store.Load()
	h := m.handoff.Load()
	if h == nil || h.live != live {
		h = newHandoff(live)
		m.handoff.Store(h)
	}
	return h
}

// settle holds a connection until it is known which listeners there are for its destination; nil: that took too long.
func (m *Manager) settle(s *session) *handoff {
	dst := s.facts.Destination
	timer := time.NewTimer(m.opts.Hold)
	defer timer.Stop()
	for {
		changed := m.opts.Store.Changed()
		if h := m.handoffs(); h.by[dst] != nil || h.live.Settled[dst] || h.live.Settled == nil {
			return h
		}
		if m.opts.Demands == nil || !m.opts.Demands.Address(dst) {
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil
		}
	}
}

func newHandoff(live *config.Live) *handoff {
	h := &handoff{live, map[netip.AddrPort]*config.Listener{}}
	for _, l := range live.Listeners {
		if !l.NoBind && !calledToo(l) {
			continue
		}
		for _, a := range l.Binds {
			h.by[a] = l
		}
	}
	return h
}

// calledToo reports whether a listener that clients connect to is also for captured connections to its address: those that a sidecar's clients make.
func calledToo(l *config.Listener) bool {
	return !l.RestoreDst && l.Via != nil && !l.Via.Gateway && l.Via.Direction == exchange.Outbound
}

// current finds the session's listener in the configuration in force; nil: there is none any more.
func (m *Manager) current(s *session) *config.Listener {
	live := m.opts.Store.Load()
	if live == s.live {
		return s.at
	}
	l := live.Listener(s.socket)
	if l == nil {
		return nil
	}
	s.listener, s.facts.Via = l.Name, l.Via
	s.live, s.at = live, m.hand(s, l)
	return s.at
}
