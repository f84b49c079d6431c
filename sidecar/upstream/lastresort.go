package upstream

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// suspicion is how long a host that could not be connected to counts as away.
const suspicion = 5 * time.Second

// noted keeps when connecting to the host failed last; a client that gave up says nothing of the host.
func (h *Host) noted(err error) {
	switch {
	case err == nil:
		if h.failed.Load() != 0 {
			h.failed.Store(0)
		}
	case !errors.Is(err, context.Canceled):
		h.failed.Store(time.Now().UnixNano())
	}
}

// away says whether the host could not be connected to just now.
func (h *Host) away() bool {
	at := h.failed.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < suspicion
}

func (g *group) away() bool {
	return !slices.ContainsFunc(g.schedule, func(h *Host) bool { return !h.away() }) &&
		!slices.ContainsFunc(g.members, func(m member) bool { return !m.host.away() })
}

// lastResort returns where to go instead of h, which was chosen: the service's own address where all that could be chosen are away, else h.
// Endpoints change while nobody tells us: the control plane may be away, and all of them replaced.
func (s *state) lastResort(h *Host, tried []*Host) *Host {
	if s.last == nil || !h.away() || slices.Contains(tried, s.last) {
		return h
	}
	for _, g := range s.groups {
		if !g.away() {
			return h
		}
	}
	return s.last
}

// resort makes the last resort of a state, keeping that of the same hosts: connections that went round others lead to one of these, and end when
// it does. It is nil where there is none, or where an endpoint is secured: its successors are too, and plaintext is nothing to fall back to.
// c.mu is held.
func (c *Cluster) resort(cfg *Config, hosts []*Host, same bool) *Host {
	old := c.state.Load().last
	ep := &exchange.Endpoint{Address: cfg.LastResort, Weight: 1}
	wanted := cfg.LastResort.IsValid() && len(hosts) > 0 && cfg.channel(ep).tls == nil &&
		!slices.ContainsFunc(hosts, func(h *Host) bool { return h.face.Load().tls != nil })
	if old != nil && (!same || !wanted || old.Endpoint().Address != cfg.LastResort) {
		old.retire()
		old = nil
	}
	if wanted && old == nil {
		old = &Host{cluster: c}
		old.describe(ep, cfg.channel(ep))
	}
	return old
}
