package upstream

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Pick chooses a host; nil with the outcome where there is none. dst is the connection's original destination, for
// clusters that follow it. Up to picks choices are made to find a host that is not among tried.
func (c *Cluster) Pick(dst netip.AddrPort, tried []*Host, picks int) (*Host, exchange.Outcome) {
	return c.PickFor(Key{}, dst, tried, picks)
}

// PickFor is Pick for a request with a key, which only hashing balancers and Named clusters look at.
func (c *Cluster) PickFor(key Key, dst netip.AddrPort, tried []*Host, picks int) (*Host, exchange.Outcome) {
	s := c.state.Load()
	if s.cfg.Discovery == OriginalDst || s.cfg.Balancer == Passthrough {
		if s.cfg.Discovery == Named {
			return c.byName(s.cfg, key.Name, dst, tried)
		}
		return c.original(s.cfg.Dials(dst))
	}
	if len(s.groups) == 0 {
		if s.awaitTables() || s.cfg.dns() && (await(c.warm, s.cfg) || c.state.Load() != s) {
			return c.PickFor(key, dst, tried, picks)
		}
		if s.cfg.Health != nil && len(s.hosts) > 0 && await(c.checked, s.cfg) {
			return c.PickFor(key, dst, tried, picks)
		}
		return nil, exchange.NoHealthyUpstream
	}
	hash := key.Hash
	if !key.Given && s.cfg.Balancer.hashes() {
		hash = rand.Uint64()
	}
	h := c.choose(s, hash, 0)
	for n := 1; n < picks && slices.Contains(tried, h); n++ {
		h = c.choose(s, hash, n)
	}
	return s.lastResort(h, tried), exchange.OK
}

func (c *Cluster) choose(s *state, hash uint64, attempt int) *Host {
	if s.cfg.Balancer.hashes() {
		return s.hashed(hash, attempt)
	}
	g := pick(s.groups)
	if len(g.schedule) == 1 {
		return g.schedule[0]
	}
	if w := s.cfg.Warmup; w != nil {
		if now := time.Now().UnixNano(); now-g.era.last < int64(w.Window) {
			return c.chooseWarm(s, g, w, now)
		}
	}
	n := uint64(len(g.schedule))
	switch s.cfg.Balancer {
	case RoundRobin:
		return c.turned(s, g)
	case Random:
		return g.schedule[rand.Uint64N(n)]
	}
	i := rand.Uint64N(n)
	j := (i + 1 + rand.Uint64N(n-1)) % n
	return idler(g.schedule[i], g.schedule[j])
}

// chooseWarm is choose while hosts of the group warm up.
func (c *Cluster) chooseWarm(s *state, g *group, w *Warmup, now int64) *Host {
	if s.cfg.Balancer == RoundRobin {
		return g.warming(w, now, func() *Host { return c.turned(s, g) })
	}
	draw := func() *Host { return g.schedule[rand.Uint64N(uint64(len(g.schedule)))] }
	return idler(g.warming(w, now, draw), g.warming(w, now, draw))
}

// turned is the next host of a round robin.
func (c *Cluster) turned(s *state, g *group) *Host {
	turn := &g.turn
	if len(s.groups) == 1 {
		turn = &c.turn
	}
	return g.schedule[turn.Add(1)%uint64(len(g.schedule))]
}

// idler returns the host with fewer exchanges in flight.
func idler(a, b *Host) *Host {
	if b.active.Load() < a.active.Load() {
		return b
	}
	return a
}

// original returns the host of an original destination, made on demand.
func (c *Cluster) original(dst netip.AddrPort) (*Host, exchange.Outcome) {
	if !dst.IsValid() || dst.Port() == 0 {
		return nil, exchange.NoHealthyUpstream
	}
	c.mu.RLock()
	h := c.facts[dst]
	if h == nil {
		h = c.direct[dst]
	}
	c.mu.RUnlock()
	if h != nil {
		return h, exchange.OK
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h = c.facts[dst]; h != nil {
		return h, exchange.OK
	}
	if h = c.direct[dst]; h == nil {
		ep := &exchange.Endpoint{Address: dst, Weight: 1}
		h = &Host{cluster: c}
		h.describe(ep, c.config().channel(ep))
		c.direct[dst] = h
	}
	return h, exchange.OK
}
