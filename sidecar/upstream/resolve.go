package upstream

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// resolve looks the cluster's names up now and every refresh interval, until ctx ends. A name whose look-up fails keeps its last
// answer, and is tried again soon. A cluster that has no names any more is left alone until it has some again.
func (c *Cluster) resolve(ctx context.Context) {
	for ctx.Err() == nil {
		cfg := c.config()
		var again <-chan time.Time // never, where there is nothing to look up
		if cfg.dns() {
			said := c.lookup(ctx, cfg)
			if ctx.Err() != nil || !c.resolved(cfg, said, true) {
				continue
			}
			again = time.After(cfg.again(said))
		}
		select {
		case <-ctx.Done():
		case <-c.changed:
		case <-again:
		}
	}
}

// refresh is the time until names are looked up again; ok: all of them were found.
func (c *Config) refresh(ok bool) time.Duration {
	wait := c.DNSRefresh
	if wait == 0 {
		wait = time.Minute
	}
	if !ok {
		wait = min(wait, 5*time.Second)
	}
	return wait
}

// soonest is the least time until names are looked up again whose answers last for less: Envoy, which has this limit for the names of requests only
// (dns_min_refresh_rate), asks every second where the answer says so.
const soonest = 5 * time.Second

// again is refresh, or the time until the first answer is over; one of which nobody said how long it lasts, or that it does not last at all, counts as refreshed,
// as in Envoy.
func (c *Config) again(said answers) time.Duration {
	wait := c.refresh(said.good())
	if !c.DNSLasts || !said.good() || len(said) == 0 {
		return wait
	}
	first := time.Duration(math.MaxInt64)
	for _, one := range said {
		if one.lasts == 0 {
			first = min(first, wait)
			continue
		}
		first = min(first, max(one.lasts, soonest))
	}
	return first
}

// find asks the resolver for a name's addresses, and how long these last; 0: nobody said, or no time at all.
func (r *Registry) find(ctx context.Context, network, host string) ([]netip.Addr, time.Duration, error) {
	if knows, ok := r.opts.Resolver.(interface {
		LookupLasting(ctx context.Context, network, host string) ([]netip.Addr, time.Duration, error)
	}); ok {
		return knows.LookupLasting(ctx, network, host)
	}
	addrs, err := r.opts.Resolver.LookupNetIP(ctx, network, host)
	return addrs, 0, err
}

// network is where names are looked up.
func (c *Config) network() string {
	if c.DNSFamily == 0 {
		return "ip"
	}
	return "ip" + string(rune(c.DNSFamily))
}

const (
	askAtOnce = 16                     // how many names of a cluster are looked up at a time
	patience  = 5 * time.Second        // how long a look-up may take
	early     = 500 * time.Millisecond // after which time those that have answered do not wait for the others
)

// answer is what is said of a name.
type answer struct {
	addrs []netip.Addr
	lasts time.Duration // 0: nobody said
	err   error
}

// answers are those of some of a cluster's names.
type answers map[string]answer

// good says whether all were found.
func (a answers) good() bool {
	for _, one := range a {
		if one.err != nil {
			return false
		}
	}
	return true
}

// lookup looks the names of all endpoints up, several at a time. Where some take long, what is said of the others is taken over meanwhile.
func (c *Cluster) lookup(ctx context.Context, cfg *Config) answers {
	type named struct {
		name string
		answer
	}
	said := answers{}
	for _, ep := range cfg.Endpoints {
		if ep.Host != "" {
			said[ep.Host] = answer{err: errUnanswered}
		}
	}
	names, found := make(chan string, len(said)), make(chan named, len(said))
	for name := range said {
		names <- name
	}
	close(names)
	var asking sync.WaitGroup
	for range min(len(said), askAtOnce) {
		asking.Go(func() {
			defer c.owner.guard()
			for name := range names {
				found <- named{name, c.owner.ask(ctx, cfg.network(), name)}
			}
		})
	}
	go func() { asking.Wait(); close(found) }()
	for soon := time.After(early); ; {
		select {
		case a, more := <-found:
			if !more {
				return said
			}
			said[a.name] = a.answer
		case <-soon:
			if ctx.Err() == nil {
				c.resolved(cfg, said, false)
			}
		}
	}
}

var errUnanswered = errors.New("there is no answer yet")

// ask looks one name up.
func (r *Registry) ask(ctx context.Context, network, name string) answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	addrs, lasts, err := r.find(ctx, network, name)
	return answer{addrs, lasts, err}
}

// resolved takes over what is said of cfg's names, false where the description has changed meanwhile. whole: all of them have been asked.
func (c *Cluster) resolved(cfg *Config, said answers, whole bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config() != cfg || !cfg.dns() {
		return false
	}
	c.remember(said)
	eps := cfg.located(c.known)
	if !whole && len(eps) == 0 {
		return true
	}
	if !c.warmed { // after the new state is there to be seen
		c.warmed = true
		defer close(c.warm)
	}
	same := slices.EqualFunc(c.eps, eps, func(a, b *exchange.Endpoint) bool { return a.Address == b.Address && a.Weight == b.Weight })
	if same && c.answered == cfg {
		return true
	}
	c.eps, c.answered = eps, cfg
	c.rebuild(cfg)
	c.owner.changed()
	return true
}

// remember keeps the last good answer to each name that there still is; c.mu is held.
func (c *Cluster) remember(said answers) {
	known := make(map[string][]netip.Addr, len(said))
	for name, a := range said {
		if a.err == nil {
			known[name] = a.addrs
		} else if old, ok := c.known[name]; ok {
			known[name] = old
		}
	}
	c.known = known
}

// located returns the endpoints at the addresses of their names; those without any are missing.
func (c *Config) located(known map[string][]netip.Addr) (eps []*exchange.Endpoint) {
	for _, ep := range c.Endpoints {
		if ep.Host == "" {
			eps = append(eps, ep)
			continue
		}
		for _, a := range c.chosen(known[ep.Host]) {
			at := *ep
			at.Address = netip.AddrPortFrom(a.Unmap(), ep.Address.Port())
			eps = append(eps, &at)
		}
	}
	return eps
}

// chosen are the addresses of a name that are used: all, in an order of their own, or the one that was answered first, as in Envoy.
func (c *Config) chosen(addrs []netip.Addr) []netip.Addr {
	addrs = slices.Clone(addrs)
	if c.Discovery != LogicalDNS {
		slices.SortFunc(addrs, netip.Addr.Compare)
		return addrs
	}
	if c.PreferIPv4 {
		slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(a.Unmap().BitLen(), b.Unmap().BitLen()) })
	}
	return addrs[:min(len(addrs), 1)]
}

// key tells an endpoint's host from others: where a name has one host, that is the host wherever the name leads; its connections outlive a move, as in Envoy.
func (c *Config) key(ep *exchange.Endpoint) string {
	if c.Discovery == LogicalDNS && ep.Host != "" {
		return net.JoinHostPort(ep.Host, strconv.Itoa(int(ep.Address.Port())))
	}
	return ep.Key()
}

// await waits, at most a connect timeout, for the first DNS answer or health checks; false where there were some before.
func await(first chan struct{}, cfg *Config) bool {
	select {
	case <-first:
		return false
	default:
	}
	select {
	case <-first:
		return true
	case <-time.After(cfg.connectTimeout()):
		return false
	}
}
