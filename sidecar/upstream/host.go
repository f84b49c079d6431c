package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// Host is a living endpoint of a cluster.
type Host struct {
	cluster *Cluster
	face    atomic.Pointer[face]
	active  atomic.Int64
	failed  atomic.Int64 // unix nanoseconds of the last failure to connect, 0 since one succeeded
	since   atomic.Int64 // unix nanoseconds of when it came, or was said, or found by checks, to be healthy since
	used    atomic.Int64 // unix nanoseconds of the last new connection
	pools   atomic.Pointer[[]*pool]
	gone    atomic.Bool // no longer an endpoint of the cluster
	sick    atomic.Bool // what active health checks say
	judged  atomic.Bool // they have said something

	mu      sync.Mutex // writers of pools and outlier state
	named   map[poolKey]*pool
	retired bool
	outlier outlier.Record
}

// face is what the configuration says of a host.
type face struct {
	ep *exchange.Endpoint
	channel
}

// describe takes over facts; pools whose connections began otherwise drain.
func (h *Host) describe(ep *exchange.Endpoint, how channel) {
	old := h.face.Load()
	if old != nil && old.ep == ep && old.channel == how {
		return
	}
	h.face.Store(&face{ep, how})
	if old == nil || old.ep.Unhealthy && !ep.Unhealthy {
		h.since.Store(time.Now().UnixNano())
	}
	if old == nil || old.channel == how && old.ep.Identity == ep.Identity {
		return
	}
	h.mu.Lock()
	gone := h.all()
	h.pools.Store(nil)
	h.named = nil
	h.mu.Unlock()
	for _, p := range gone {
		p.retire()
	}
}

// Endpoint returns the host's facts.
func (h *Host) Endpoint() *exchange.Endpoint { return h.face.Load().ep }

// Active returns how many exchanges are in flight.
func (h *Host) Active() int64 { return h.active.Load() }

// Fit says whether the host may be chosen.
func (h *Host) Fit() bool { return h.fit() }

func (h *Host) weight() uint64 { return uint64(max(1, h.Endpoint().Weight)) }

func (h *Host) fit() bool {
	ep := h.Endpoint()
	return !ep.Unhealthy && !ep.Draining && !h.Ejected() && !h.sick.Load()
}

// pool returns the pool for what k tells apart and f demands, made on demand.
func (h *Host) pool(f *face, k poolKey) *pool {
	if k.name != "" || k.client != "" {
		return h.poolOf(f, k)
	}
	if ps := h.pools.Load(); ps != nil {
		for _, p := range *ps {
			if p.serves(f, k) {
				return p
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*pool
	if ps := h.pools.Load(); ps != nil {
		list = *ps
		for _, p := range list {
			if p.serves(f, k) {
				return p
			}
		}
	}
	p := &pool{host: h, face: f, poolKey: k, retired: h.retired}
	list = append(list[:len(list):len(list)], p)
	h.pools.Store(&list)
	return p
}

// serves says whether the pool's connections are what k tells apart, and were secured and proved the way that f asks for.
func (p *pool) serves(f *face, k poolKey) bool {
	return p.poolKey == k && (p.face == f || p.face.channel == f.channel && p.face.ep.Identity == f.ep.Identity)
}

// retire closes what is idle; what is in use closes after use. An ejection ends: it must not count among the hosts that are left.
func (h *Host) retire() {
	h.gone.Store(true)
	h.mu.Lock()
	h.retired = true
	if h.outlier.End() {
		h.cluster.ejected.Add(-1)
	}
	all := h.all()
	h.mu.Unlock()
	for _, p := range all {
		p.retire()
	}
}

// sweep returns how many connections are left.
func (h *Host) sweep(now time.Time) int {
	h.mu.Lock()
	all := h.all()
	h.mu.Unlock()
	n := 0
	for _, p := range all {
		left := p.sweep(now)
		if n += left; left == 0 {
			h.forget(p)
		}
	}
	return n
}

// Pinned returns the host at an address (Endpoint.Key) where a client may stay with it; nil: another one has to be chosen.
func (c *Cluster) Pinned(at string) *Host {
	c.mu.RLock()
	h := c.hosts[at]
	if c.config().Discovery == LogicalDNS { // known by their names
		for _, one := range c.hosts {
			if one.Endpoint().Key() == at {
				h = one
			}
		}
	}
	c.mu.RUnlock()
	if h == nil || h.Ejected() || h.sick.Load() {
		return nil
	}
	if ep := h.Endpoint(); ep.Unhealthy || ep.Draining && !c.config().PinDraining {
		return nil
	}
	return h
}

// forgotten retires a host that was made on demand and serves nobody any more.
func (h *Host) forgotten(now time.Time) bool {
	if h.sweep(now) > 0 || h.active.Load() > 0 || now.Sub(time.Unix(0, h.used.Load())) <= time.Minute {
		return false
	}
	h.retire()
	return true
}
