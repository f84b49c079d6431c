package config

import (
	"sync/atomic"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// Binding ties a connection to its filter chain in whatever configuration is in force. Each request asks it once.
// Goroutines may share it.
type Binding struct {
	store    *Store
	listener string
	conn     *exchange.Connection
	bound    atomic.Pointer[Bound]
}

// Bound is a connection's share of one configuration.
type Bound struct {
	Live   *Live
	Chain  *FilterChain
	Routes *route.Table // nil: none (yet), or the chain is not HTTP
	of     *Binding
}

// Again returns the connection's share of the configuration that is in force now, nil where it has none any more.
func (b *Bound) Again() *Bound {
	if b.of == nil {
		return b
	}
	return b.of.Current()
}

// Changed returns a channel that closes when another configuration is in force, nil where that cannot be.
func (b *Bound) Changed() <-chan struct{} {
	if b.of == nil {
		return nil
	}
	return b.of.store.Changed()
}

// NewBinding binds a connection by its facts to the listener of that name.
func NewBinding(s *Store, listener string, c *exchange.Connection) *Binding {
	return &Binding{store: s, listener: listener, conn: c}
}

// Current returns the connection's chain in the configuration in force, nil where it has none any more: its listener
// is gone, or no chain would accept it today.
func (b *Binding) Current() *Bound {
	live := b.store.Load()
	if at := b.bound.Load(); at != nil && at.Live == live {
		if at.Chain == nil {
			return nil
		}
		return at
	}
	at := b.bind(live)
	b.bound.Store(at)
	if at.Chain == nil {
		return nil
	}
	return at
}

func (b *Binding) bind(live *Live) *Bound {
	at := &Bound{Live: live, of: b}
	l := live.Listener(b.listener)
	if l == nil {
		return at
	}
	at.Chain = l.Choose(b.conn)
	if at.Chain != nil && at.Chain.HTTP != nil {
		at.Routes = live.Table(at.Chain.HTTP)
	}
	return at
}

// Listener finds a listener by name, nil where there is none.
func (c *Config) Listener(name string) *Listener {
	for _, l := range c.Listeners {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Table returns the routes of an HTTP chain, nil where RDS has not answered yet.
func (c *Config) Table(h *HTTP) *route.Table {
	if h.RouteName == "" {
		return h.Routes
	}
	return c.Routes[h.RouteName]
}
