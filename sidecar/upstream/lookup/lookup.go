// Package lookup finds the addresses of names that requests bring, and remembers them. Whoever may name a host must not reach the proxy itself or
// what only its machine can reach: such addresses are never told. It knows no clusters and connects to nothing.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// most is how many names are remembered, as in Envoy's DNS cache (DnsCacheConfig.max_hosts); the one that was asked for longest ago makes room.
	most = 1024
	// kept is how long an answer serves while the servers do not answer (DnsCacheConfig.host_ttl).
	kept = 5 * time.Minute
	// failed is how long a failure is remembered, so that a name that is not there is not asked for with every request.
	failed = 5 * time.Second
	// patience is how long a look-up may take.
	patience = 5 * time.Second
)

// Resolver looks a name up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options are what a Cache needs from outside.
type Options struct {
	Resolver Resolver
	// Allowed says whether a name may lead to an address; see Elsewhere.
	Allowed func(netip.Addr) bool
	// Now is the time; nil: time.Now.
	Now func() time.Time
	// Refresh is after which time an answer is looked up again.
	Refresh time.Duration
	Network string // "ip", "ip4" or "ip6"
}

// Cache remembers addresses of names. Goroutines may share it.
type Cache struct {
	opts  Options
	mu    sync.Mutex
	names map[string]*entry
}

// entry is what is known of a name.
type entry struct {
	done  chan struct{} // closes when the look-up under way is over; nil: none is
	addrs []netip.Addr
	err   error
	at    time.Time // of the answer that addrs are; zero: there was none
	until time.Time // no look-up before
	used  time.Time
}

// New returns an empty cache.
func New(o Options) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Cache{opts: o, names: map[string]*entry{}}
}

// Find returns the addresses of a name, of which there is at least one; it waits for a look-up where nothing is known. An address is its own name.
func (c *Cache) Find(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return c.allowed(name, []netip.Addr{a})
	}
	c.mu.Lock()
	now := c.opts.Now()
	e := c.names[name]
	if e == nil {
		if !c.room() {
			c.mu.Unlock()
			return nil, errors.New("too many names are being looked up")
		}
		e = &entry{}
		c.names[name] = e
	}
	e.used = now
	old, known := e.addrs, !e.at.IsZero() && now.Sub(e.at) < max(kept, c.opts.Refresh)
	switch {
	case now.Before(e.until) && known:
		c.mu.Unlock()
		return old, nil
	case now.Before(e.until):
		defer c.mu.Unlock()
		return nil, e.err
	case e.done != nil && known: // somebody is looking
		c.mu.Unlock()
		return old, nil
	}
	mine := e.done == nil
	if mine {
		e.done = make(chan struct{})
	}
	done := e.done
	c.mu.Unlock()
	if mine {
		c.look(name, e) // the answer counts, however late it is
	} else {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(e.addrs) == 0 {
		return nil, e.err
	}
	return e.addrs, nil
}

// look looks a name up for all who wait. A failure keeps the last answer while that may be kept.
func (c *Cache) look(name string, e *entry) {
	var addrs []netip.Addr
	err := errors.New("the look-up was given up")
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		now := c.opts.Now()
		switch {
		case err == nil:
			e.addrs, e.err, e.at, e.until = addrs, nil, now, now.Add(c.opts.Refresh)
		case e.at.IsZero() || now.Sub(e.at) >= kept:
			e.addrs, e.err, e.at, e.until = nil, err, time.Time{}, now.Add(failed)
		default:
			e.err, e.until = err, now.Add(failed)
		}
		close(e.done)
		e.done = nil
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, why := c.opts.Resolver.LookupNetIP(ctx, c.opts.Network, name)
	if why != nil {
		err = fmt.Errorf("looking up %s: %w", name, why)
		return
	}
	addrs, err = c.allowed(name, found)
}

// room forgets the name that was asked for longest ago, where there are too many; false: all of them are being looked up. c.mu is held.
func (c *Cache) room() bool {
	if len(c.names) < most {
		return true
	}
	oldest, since := "", time.Time{}
	for name, e := range c.names {
		if e.done == nil && (oldest == "" || e.used.Before(since)) {
			oldest, since = name, e.used
		}
	}
	delete(c.names, oldest)
	return oldest != ""
}

// allowed are the addresses that a name may lead to.
func (c *Cache) allowed(name string, found []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); c.opts.Allowed(a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no address that a request may name", name)
	}
	return out, nil
}

// Elsewhere allows the addresses that mean one host to everybody, and not this one: own are its addresses, of which there is at least one where they
// are known. Where they are not, nothing is allowed.
func Elsewhere(own func() []netip.Addr) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		if !public(a) {
			return false
		}
		mine := own()
		return len(mine) > 0 && !slices.Contains(mine, a)
	}
}

// Forms of IPv6 addresses that lead to an IPv4 address: through NAT64 (RFC 6052), as IPv4-compatible ones (RFC 4291, 2.5.5.1), and 6to4 (RFC 3056).
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	compatible = netip.MustParsePrefix("::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
)

// metadata is where machines of clouds ask for their credentials, or are told what to do, by addresses that are not link-local.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::/32"),      // Amazon: the services that IPv4 has at 169.254.0.0/16
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's platform ("wire server")
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle's older machines
}

// Machines reports whether an address is for a machine alone to ask: it is on its link, or its cloud's service for machines.
func Machines(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || slices.ContainsFunc(metadata, func(p netip.Prefix) bool { return p.Contains(a) })
}

// public says whether an address means the same host to everybody: not this machine, its links, or several hosts at once.
func public(a netip.Addr) bool {
	switch b := a.As16(); {
	case !a.Is6() || a.Is4In6():
	case nat64.Contains(a), compatible.Contains(a):
		return public(netip.AddrFrom4([4]byte(b[12:])))
	case sixToFour.Contains(a):
		return public(netip.AddrFrom4([4]byte(b[2:6])))
	}
	if a.Is4() && (a.As4()[0] == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) { // 0.0.0.0/8 is this host (RFC 1122, 3.2.1.3)
		return false
	}
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !Machines(a) && !a.IsMulticast()
}
