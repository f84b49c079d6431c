package upstream

import (
	"maps"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/lookup"
	"github.com/heddle-mesh/heddle/sidecar/upstream/recent"
)

// Cluster is a living cluster.
type Cluster struct {
	name  string
	owner *Registry
	born  time.Time // when outlier detection's intervals begin
	state atomic.Pointer[state]

	requests    atomic.Int64 // that have a connection
	pending     atomic.Int64 // that wait for one, or make one
	retries     atomic.Int64
	connections atomic.Int64
	ejected     atomic.Int64
	turn        atomic.Uint64 // round robin
	begun       recent.Count  // requests, where a budget is a share of those
	busy        atomic.Bool   // it has been connected to, for traffic

	mu       sync.RWMutex
	hosts    map[string]*Host         // by Config.key: living, described
	direct   map[netip.AddrPort]*Host // original destinations, made on demand
	called   map[place]*Host          // those of names, likewise
	names    *lookup.Cache            // of Named
	facts    map[netip.AddrPort]*Host // original destinations of which the assignment has facts
	eps      []*exchange.Endpoint     // what the last apply or resolution said
	given    *Assignment
	retired  bool
	warm     chan struct{} // closes at the first DNS answer
	warmed   bool
	changed  chan struct{}           // a DNS cluster's description has changed
	checked  chan struct{}           // closes once health checks have found somebody, or nobody
	found    bool                    // it is closed
	answered *Config                 // the description that the last DNS answer is for
	known    map[string][]netip.Addr // the last good answer to each name of the description

	planned    *plan // the next tables to make
	building   *plan // the tables that are being made; nil: none that anybody waits for
	tabulating bool  // somebody makes tables
}

// state is what requests read of a cluster: immutable, replaced as a whole.
type state struct {
	cfg    *Config
	hosts  []*Host       // all
	last   *Host         // dialled where all others are away; nil: nothing is
	groups []*group      // whom to choose from
	ready  chan struct{} // closes when a hashing balancer has its first tables; nil: it has them
	detours
}

func newCluster(r *Registry, name string) *Cluster {
	c := &Cluster{name: name, owner: r, born: time.Now(), hosts: map[string]*Host{}, direct: map[netip.AddrPort]*Host{}, called: map[place]*Host{}, warm: make(chan struct{}), checked: make(chan struct{}), changed: make(chan struct{}, 1)}
	c.state.Store(&state{cfg: &Config{}})
	return c
}

// Name returns the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Config returns the description in force.
func (c *Cluster) Config() *Config { return c.config() }

// Info returns what telemetry may know of the cluster.
func (c *Cluster) Info() *exchange.ClusterInfo { return &c.config().Info }

func (c *Cluster) config() *Config { return c.state.Load().cfg }

// Hosts returns all hosts, for dumps and tests.
func (c *Cluster) Hosts() []*Host { return c.state.Load().hosts }

// apply takes over a description and, for EDS, an assignment (nil: none yet).
func (c *Cluster) apply(cfg *Config, a *Assignment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.config()
	if old == cfg && c.given == a {
		return
	}
	c.given = a
	switch cfg.Discovery {
	case EDS:
		c.eps = nil
		if a != nil {
			c.eps = a.Endpoints
		}
	case Static:
		c.eps = cfg.Endpoints
	case StrictDNS, LogicalDNS:
		if !old.dns() {
			c.eps, c.known = nil, nil
		}
	default: // original destinations: the assignment, if any, says who is where
		c.eps = nil
		if a != nil && cfg.Assignment != "" {
			c.eps = a.Endpoints
		}
	}
	c.rebuild(cfg)
	if cfg.dns() && old != cfg {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// rebuild makes hosts of c.eps, keeping those that live, and publishes a new state. c.mu is held.
func (c *Cluster) rebuild(cfg *Config) {
	hosts := make([]*Host, 0, len(c.eps))
	next := make(map[string]*Host, len(c.eps))
	for _, ep := range c.eps {
		key := cfg.key(ep)
		if next[key] != nil {
			continue
		}
		h := c.hosts[key]
		if h == nil {
			h = &Host{cluster: c}
			h.sick.Store(cfg.Health != nil)
		}
		if cfg.Health == nil {
			h.sick.Store(false)
		}
		h.describe(ep, cfg.channel(ep))
		next[key] = h
		hosts = append(hosts, h)
	}
	for key, h := range c.hosts {
		if next[key] == nil {
			h.retire()
		}
	}
	for h := range c.onDemand {
		ep := h.Endpoint()
		h.describe(ep, cfg.channel(ep))
	}
	same, old := maps.Equal(c.hosts, next), c.config()
	if cfg.Discovery == Named && (c.names == nil || old.DNSFamily != cfg.DNSFamily || old.refresh(true) != cfg.refresh(true)) {
		c.names = c.owner.lookups(cfg)
	}
	c.hosts = next
	c.facts = nil
	if cfg.Discovery == OriginalDst && len(hosts) > 0 {
		c.facts = make(map[netip.AddrPort]*Host, len(hosts))
		for _, h := range hosts {
			at := h.Endpoint().Address
			c.facts[at] = h
			if stranger := c.direct[at]; stranger != nil {
				delete(c.direct, at)
				stranger.retire()
			}
		}
	}
	last := c.resort(cfg, hosts, same)
	c.publish(&state{cfg: cfg, hosts: hosts, last: last})
	if !cfg.Outlier.Equal(old.Outlier) && c.acquit() {
		c.publish(&state{cfg: cfg, hosts: hosts, last: last})
	}
}

// reschedule publishes the same hosts after an ejection began or ended.
func (c *Cluster) reschedule() {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state.Load()
	c.publish(&state{cfg: s.cfg, hosts: s.hosts, last: s.last})
}

// retire closes what is idle; what is in use closes after use.
func (c *Cluster) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	for _, h := range c.hosts {
		h.retire()
	}
	for h := range c.onDemand {
		h.retire()
	}
	if last := c.state.Load().last; last != nil {
		last.retire()
	}
}

// sweep closes connections that idled too long or that the other side closed, and forgets idle original destinations.
func (c *Cluster) sweep(now time.Time) {
	for _, h := range c.Hosts() {
		h.sweep(now)
	}
	if last := c.state.Load().last; last != nil {
		last.sweep(now)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for a, h := range c.direct {
		if h.forgotten(now) {
			delete(c.direct, a)
		}
	}
	for p, h := range c.called {
		if h.forgotten(now) {
			delete(c.called, p)
		}
	}
}

func (c *Config) connectTimeout() time.Duration {
	if c.ConnectTimeout == 0 {
		return 10 * time.Second
	}
	return c.ConnectTimeout
}

// idle is how long a pooled connection may be unused.
func (c *Config) idle() time.Duration {
	switch {
	case c.IdleTimeout == 0:
		return time.Hour
	case c.IdleTimeout < 0:
		return math.MaxInt64
	}
	return c.IdleTimeout
}

// Begin notes a request where retries are a share of those.
func (c *Cluster) Begin() {
	if b := c.config().Limits.Budget; b != nil && b.Interval > 0 {
		c.begun.Add(time.Now(), b.Interval)
	}
}

// admit counts a request that has a connection against the limit; false means overflow. As in Envoy, those that wait for one do not count.
func (c *Cluster) admit() bool {
	return take(&c.requests, c.config().Limits.Requests)
}

// enqueue counts one that has no connection yet against the limit; false means overflow.
func (c *Cluster) enqueue() bool { return take(&c.pending, c.config().Limits.Pending) }

// take counts one more where the limit admits it.
func take(count *atomic.Int64, limit Limit) bool {
	if limit.admits(count.Add(1)) {
		return true
	}
	count.Add(-1)
	return false
}

// BeginRetry counts a retry against the limit or the budget; false means that none is left. Each true needs one DoneRetry.
func (c *Cluster) BeginRetry() bool {
	l := &c.config().Limits
	if l.Budget == nil {
		return take(&c.retries, l.Retries)
	}
	if c.retries.Add(1) > c.budgeted(l.Budget) {
		c.retries.Add(-1)
		return false
	}
	return true
}

// budgeted is how many retries a budget allows now.
func (c *Cluster) budgeted(b *RetryBudget) int64 {
	active := c.requests.Load() + c.pending.Load()
	if b.Interval > 0 {
		active = c.begun.Within(time.Now(), b.Interval)
	}
	return max(int64(b.Min), int64(float64(active)*b.Percent/100))
}

// DoneRetry ends what BeginRetry began.
func (c *Cluster) DoneRetry() { c.retries.Add(-1) }
