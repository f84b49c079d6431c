package upstream

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// resolve looks the cluster's names up now and every refresh interval, until ctx ends. A failed look-up keeps the last
// answer and is tried again soon. A cluster that has no names any more is left alone until it has some again.
func (c *Cluster) resolve(ctx context.Context) {
	for ctx.Err() == nil {
		cfg := c.config()
		var again <-chan time.Time // never, where there is nothing to look up
		if cfg.dns() {
			eps, lasts, ok := c.lookup(ctx, cfg)
			if ctx.Err() != nil || !c.resolved(cfg, eps, ok) {
				continue
			}
			again = time.After(cfg.again(ok, lasts))
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

// soonest is the least time until names are looked up again whose answers last for less, as in Envoy (dns_min_refresh_rate).
const soonest = 5 * time.Second

// again is refresh, but for answers that last for less; lasts 0: nobody said how long, or that they do not last at all, which counts for nothing, as in Envoy.
func (c *Config) again(ok bool, lasts time.Duration) time.Duration {
	wait := c.refresh(ok)
	if ok && lasts > 0 {
		wait = min(wait, max(lasts, soonest))
	}
	return wait
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

// lookup resolves every endpoint's name; those that fail are missing from the result. The shortest answer lasts for so long; 0: nobody said.
func (c *Cluster) lookup(ctx context.Context, cfg *Config) (eps []*exchange.Endpoint, lasts time.Duration, ok bool) {
	network := "ip"
	if cfg.DNSFamily != 0 {
		network += string(rune(cfg.DNSFamily))
	}
	ok = true
	for _, ep := range cfg.Endpoints {
		if ep.Host == "" {
			eps = append(eps, ep)
			continue
		}
		sub, cancel := context.WithTimeout(ctx, 5*time.Second)
		addrs, ttl, err := c.owner.find(sub, network, ep.Host)
		cancel()
		if err != nil {
			ok = false
			continue
		}
		if ttl > 0 && (lasts == 0 || ttl < lasts) {
			lasts = ttl
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		if cfg.Discovery == LogicalDNS && len(addrs) > 1 {
			addrs = addrs[:1]
		}
		for _, a := range addrs {
			at := *ep
			at.Address = netip.AddrPortFrom(a.Unmap(), ep.Address.Port())
			eps = append(eps, &at)
		}
	}
	return eps, lasts, ok
}

// resolved takes over an answer to cfg, false where the description has changed meanwhile. After a failed look-up
// addresses that it might only have missed stay.
func (c *Cluster) resolved(cfg *Config, eps []*exchange.Endpoint, ok bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config() != cfg || !cfg.dns() {
		return false
	}
	if !c.warmed { // after the new state is there to be seen
		c.warmed = true
		defer close(c.warm)
	}
	fresh := c.answered != cfg
	if !ok && len(eps) < len(c.eps) {
		return true
	}
	same := slices.EqualFunc(c.eps, eps, func(a, b *exchange.Endpoint) bool { return a.Address == b.Address && a.Weight == b.Weight })
	if same && !fresh {
		return true
	}
	c.eps, c.answered = eps, cfg
	c.rebuild(cfg)
	c.owner.changed()
	return true
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
