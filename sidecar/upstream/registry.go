package upstream

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// sweepEvery is how often idle connections are looked at: those that the other side closed hold a descriptor that long.
const sweepEvery = 10 * time.Second

// Registry keeps the living clusters.
type Registry struct {
	opts Options

	mu   sync.Mutex
	set  *Set
	news chan struct{} // signals Run that clusters or their hosts have changed
}

// NewRegistry returns an empty registry.
func NewRegistry(o Options) *Registry {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return &Registry{opts: o, set: &Set{}, news: make(chan struct{}, 1)}
}

// Set is the living clusters of one configuration. It never changes; its clusters do.
type Set struct{ clusters map[string]*Cluster }

// Get returns a cluster, nil where there is none of that name.
func (s *Set) Get(name string) *Cluster { return s.clusters[name] }

// Each calls f for every cluster, in no order.
func (s *Set) Each(f func(*Cluster)) {
	for _, c := range s.clusters {
		f(c)
	}
}

// Apply makes the living clusters what the descriptions say and returns them. Unchanged pointers cost next to nothing;
// clusters that are no longer described retire: their idle connections close, those in use close after use. One
// goroutine applies.
func (r *Registry) Apply(clusters map[string]*Config, endpoints map[string]*Assignment) *Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &Set{clusters: make(map[string]*Cluster, len(clusters))}
	for name, cfg := range clusters {
		c := r.set.clusters[name]
		if c == nil {
			c = newCluster(r, name)
		}
		c.apply(cfg, endpoints[cfg.assignment()])
		next.clusters[name] = c
	}
	for name, c := range r.set.clusters {
		if next.clusters[name] == nil {
			c.retire()
		}
	}
	r.set = next
	r.changed()
	return next
}

// changed has Run look after what is new.
func (r *Registry) changed() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// Current returns the set of the last Apply.
func (r *Registry) Current() *Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set
}

// Run resolves DNS clusters, checks hosts and closes idle connections until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resolving := map[*Cluster]context.CancelFunc{}
	checking := map[*Host]context.CancelFunc{}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			r.Current().Each(func(c *Cluster) { c.sweep(now) })
		case <-r.news:
			r.resolveAll(ctx, resolving, &wg)
			r.checkAll(ctx, checking, &wg)
		}
	}
}

// resolveAll starts resolution of new DNS clusters and ends that of clusters that are gone.
func (r *Registry) resolveAll(ctx context.Context, resolving map[*Cluster]context.CancelFunc, wg *sync.WaitGroup) {
	set := r.Current()
	for c, stop := range resolving {
		if set.Get(c.name) != c || !c.config().dns() {
			stop()
			delete(resolving, c)
		}
	}
	set.Each(func(c *Cluster) {
		if resolving[c] != nil || !c.config().dns() {
			return
		}
		sub, stop := context.WithCancel(ctx)
		resolving[c] = stop
		wg.Go(func() { r.resolve(sub, c) })
	})
}

// resolve has a cluster looked up until ctx ends.
func (r *Registry) resolve(ctx context.Context, c *Cluster) { r.keep(ctx, c.resolve) }

// keep has something done until ctx ends, whatever goes wrong meanwhile.
func (r *Registry) keep(ctx context.Context, do func(context.Context)) {
	for ctx.Err() == nil {
		func() {
			defer r.guard()
			do(ctx)
		}()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// guard is deferred by timers and goroutines: a defect there must not end the process.
func (r *Registry) guard() {
	if r.opts.Recovered == nil {
		return
	}
	if v := recover(); v != nil {
		r.opts.Recovered(v)
	}
}

func (c *Config) assignment() string {
	if c.Assignment != "" {
		return c.Assignment
	}
	return c.Info.Name
}

func (c *Config) dns() bool { return c.Discovery == StrictDNS || c.Discovery == LogicalDNS }

// channel is how connections begin. Those that begin alike may serve the same requests.
type channel struct {
	tls   Handshaker // nil: plaintext
	proxy ProxyHeader
}

// channel returns how connections to an endpoint begin.
func (c *Config) channel(ep *exchange.Endpoint) channel {
	for i := range c.Sockets {
		if s := &c.Sockets[i]; s.matches(ep) {
			return channel{s.TLS, s.Proxy}
		}
	}
	return channel{}
}

func (s *Socket) matches(ep *exchange.Endpoint) bool {
	for k, v := range s.Match {
		got := ep.Metadata[k]
		if k == "tlsMode" && got == "" {
			got = ep.TLSMode
		}
		if got != v {
			return false
		}
	}
	return true
}
