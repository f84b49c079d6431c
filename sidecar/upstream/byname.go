package upstream

import (
	"context"
	"net/netip"
	"slices"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/lookup"
)

// place is where a name led. Hosts of two names are two, even at one address: servers prove who they are by name.
type place struct {
	name string
	at   netip.AddrPort
}

// Named says whether the cluster chooses by a Key's name.
func (c *Cluster) Named() bool { return c.config().Discovery == Named }

// byName returns the host of the name that a request brought, looked up now: an address that has not been tried, where there is one.
func (c *Cluster) byName(cfg *Config, asked string, dst netip.AddrPort, tried []*Host) (*Host, exchange.Outcome) {
	name, port, ok := cfg.Lead(asked)
	if !ok {
		return nil, exchange.NoHealthyUpstream
	}
	addrs, ok := c.find(cfg, name, dst.Addr().Unmap())
	if !ok {
		return nil, exchange.NoHealthyUpstream
	}
	first := c.at(place{name, netip.AddrPortFrom(addrs[0], port)})
	for h, i := first, 0; ; h = c.at(place{name, netip.AddrPortFrom(addrs[i], port)}) {
		if !slices.Contains(tried, h) {
			return h, exchange.OK
		}
		if i++; i == len(addrs) {
			return first, exchange.OK
		}
	}
}

// Lead returns the name to look up and the port to connect to for a Key's name; false: the cluster goes nowhere for it.
func (c *Config) Lead(asked string) (name string, port uint16, ok bool) {
	return c.Names.Lead(asked, slices.ContainsFunc(c.Sockets, func(s Socket) bool { return s.TLS != nil }))
}

// find looks a name up. An address that the client itself connected to it may also name, even one that is for its machine alone; connections to this machine are not captured.
func (c *Cluster) find(cfg *Config, name string, dst netip.Addr) ([]netip.Addr, bool) {
	if a, err := netip.ParseAddr(name); err == nil && a == dst && lookup.Machines(a) {
		return []netip.Addr{a}, true
	}
	c.mu.RLock()
	names := c.names
	c.mu.RUnlock()
	ctx, cancel := context.WithTimeout(context.Background(), cfg.connectTimeout())
	defer cancel()
	if cfg.Names.Within != "" {
		name += "." // it is whole: no search path
	}
	addrs, err := names.Find(ctx, name)
	addrs = cfg.Names.Onward(addrs)
	return addrs, err == nil && len(addrs) > 0
}

// at returns the host of a place, made on demand.
func (c *Cluster) at(p place) *Host {
	c.mu.RLock()
	h := c.called[p]
	c.mu.RUnlock()
	if h != nil {
		return h
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h = c.called[p]; h == nil {
		ep := &exchange.Endpoint{Address: p.at, Host: p.name, Weight: 1}
		h = &Host{cluster: c}
		h.describe(ep, c.config().channel(ep))
		c.called[p] = h
	}
	return h
}

// onDemand yields the hosts that were made on demand; c.mu is held.
func (c *Cluster) onDemand(yield func(*Host) bool) {
	for _, h := range c.direct {
		if !yield(h) {
			return
		}
	}
	for _, h := range c.called {
		if !yield(h) {
			return
		}
	}
}

// lookups makes the memory of a cluster's names.
func (r *Registry) lookups(cfg *Config) *lookup.Cache {
	allowed := r.opts.Reachable
	if allowed == nil {
		allowed = lookup.Elsewhere(lookup.Interfaces)
	}
	network := "ip"
	if cfg.DNSFamily != 0 {
		network += string(rune(cfg.DNSFamily))
	}
	return lookup.New(lookup.Options{Resolver: r.opts.Resolver, Allowed: allowed, Refresh: cfg.refresh(true), Network: network})
}
