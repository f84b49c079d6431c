package upstream

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// zones is a resolver of several names, of which some never answer.
type zones struct {
	mu   sync.Mutex
	by   map[string][]netip.Addr
	dead map[string]bool
}

func (z *zones) set(name string, addrs ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.by == nil {
		z.by = map[string][]netip.Addr{}
	}
	z.by[name] = nil
	for _, a := range addrs {
		z.by[name] = append(z.by[name], netip.MustParseAddr(a))
	}
}

func (z *zones) LookupNetIP(ctx context.Context, _, name string) ([]netip.Addr, error) {
	z.mu.Lock()
	addrs, dead := slices.Clone(z.by[name]), z.dead[name]
	z.mu.Unlock()
	switch {
	case dead:
		<-ctx.Done()
		return nil, ctx.Err()
	case len(addrs) == 0:
		return nil, errors.New("no such host")
	}
	return addrs, nil
}

// looked runs a cluster of names.
func looked(t *testing.T, r Resolver, kind Discovery, names ...string) *Cluster {
	cfg := &Config{Info: exchange.ClusterInfo{Name: "c"}, Discovery: kind}
	for _, name := range names {
		cfg.Endpoints = append(cfg.Endpoints, &exchange.Endpoint{Host: name, Address: netip.AddrPortFrom(netip.Addr{}, 80), Weight: 1})
	}
	registry := NewRegistry(Options{Resolver: r})
	c := registry.Apply(map[string]*Config{"c": cfg}, nil).Get("c")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

func addresses(c *Cluster) []string {
	var out []string
	for _, h := range c.Hosts() {
		out = append(out, h.Endpoint().Address.Addr().String())
	}
	return out
}

// TestNamesFailApart: a name that cannot be found keeps its own last answer, and nobody else's.
func TestNamesFailApart(t *testing.T) {
	for name, then := range map[string]struct {
		a    []string
		want []string
	}{
		"the other moves":   {[]string{"10.0.0.2"}, []string{"10.0.0.2", "10.0.1.1"}},
		"the other grows":   {[]string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.1", "10.0.0.2", "10.0.1.1"}},
		"the other stays":   {[]string{"10.0.0.1"}, []string{"10.0.0.1", "10.0.1.1"}},
		"the other fails":   {nil, []string{"10.0.0.1", "10.0.1.1"}},
		"at the same place": {[]string{"10.0.1.1"}, []string{"10.0.1.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &zones{}
				r.set("a", "10.0.0.1")
				r.set("b", "10.0.1.1")
				c := looked(t, r, StrictDNS, "a", "b")
				synctest.Wait()
				r.set("b")
				r.set("a", then.a...)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if got := addresses(c); !slices.Equal(got, then.want) {
					t.Errorf("got %v, want %v", got, then.want)
				}
				r.set("a", "10.0.0.8")
				r.set("b", "10.0.1.8")
				time.Sleep(10 * time.Second) // a name that failed is asked for again soon
				synctest.Wait()
				if got := addresses(c); !slices.Equal(got, []string{"10.0.0.8", "10.0.1.8"}) {
					t.Errorf("got %v when both are found again", got)
				}
			})
		})
	}
}

// gone is what net.Resolver says of a name that there is not, or that has no addresses (NXDOMAIN, NODATA).
type gone struct{ zones }

func (g *gone) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	addrs, err := g.zones.LookupNetIP(ctx, network, name)
	if err != nil {
		err = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return addrs, err
}

// TestNamesThatAreGone: that a name does not exist, or has no addresses, by a server's word, is no reason to leave its last ones. It has new ones as soon as there are any.
func TestNamesThatAreGone(t *testing.T) {
	for name, kind := range map[string]Discovery{"strict": StrictDNS, "logical": LogicalDNS} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &gone{}
				r.set("a", "10.0.0.1")
				c := looked(t, r, kind, "a")
				synctest.Wait()
				r.set("a")
				time.Sleep(time.Hour)
				if synctest.Wait(); !slices.Equal(addresses(c), []string{"10.0.0.1"}) {
					t.Errorf("an hour after it was gone it leads to %v", addresses(c))
				}
				r.set("a", "10.0.0.2")
				time.Sleep(6 * time.Second)
				if synctest.Wait(); !slices.Equal(addresses(c), []string{"10.0.0.2"}) {
					t.Errorf("it leads to %v, and was to move", addresses(c))
				}
			})
		})
	}
}

// TestDeadNamesDelayNobody: names are looked up at the same time, and those that answer are used while others do not.
func TestDeadNamesDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &zones{dead: map[string]bool{}}
		names := []string{"a"}
		r.set("a", "10.0.0.1")
		for _, name := range []string{"w", "x", "y", "z"} {
			r.dead[name] = true
			names = append([]string{name}, names...)
		}
		c := looked(t, r, StrictDNS, names...)
		begun := time.Now()
		if h, o := c.Pick(netip.AddrPort{}, nil, 1); o != exchange.OK || h.Endpoint().Host != "a" {
			t.Fatalf("outcome %v", o)
		}
		if took := time.Since(begun); took >= time.Second {
			t.Errorf("the first request waits for %s", took)
		}
		r.set("a", "10.0.0.2")
		time.Sleep(2*patience + time.Second)
		if got := addresses(c); !slices.Equal(got, []string{"10.0.0.2"}) {
			t.Errorf("got %v", got)
		}
	})
}

// TestManyNames: more names than are looked up at a time.
func TestManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, want := &zones{}, map[string]string{}
		for i := range byte(3 * askAtOnce) {
			name, at := string([]byte{'n', 'a' + i/26, 'a' + i%26}), netip.AddrFrom4([4]byte{10, 0, 0, i}).String()
			r.set(name, at)
			want[name] = at
		}
		c := looked(t, r, StrictDNS, slices.Collect(maps.Keys(want))...)
		synctest.Wait()
		got := map[string]string{}
		for _, h := range c.Hosts() {
			got[h.Endpoint().Host] = h.Endpoint().Address.Addr().String()
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}

// TestLogicalDNS: new connections go to the first address of the answer, in the order of the name server, which may spread its clients like that.
func TestLogicalDNS(t *testing.T) {
	for name, c := range map[string]struct {
		cfg    Config
		answer []string
		want   string
	}{
		"the first, not the lowest":     {Config{}, []string{"10.0.0.2", "10.0.0.1"}, "10.0.0.2"},
		"the first, though others stay": {Config{}, []string{"10.0.0.3", "10.0.0.9"}, "10.0.0.3"},
		"IPv6 is as good":               {Config{}, []string{"fd00::1", "10.0.0.1"}, "fd00::1"},
		"IPv4 where it is preferred":    {Config{PreferIPv4: true}, []string{"fd00::1", "10.0.0.2", "10.0.0.1"}, "10.0.0.2"},
		"IPv6 where there is no other":  {Config{PreferIPv4: true}, []string{"fd00::2", "fd00::1"}, "fd00::2"},
		"IPv4 that is written as IPv6":  {Config{PreferIPv4: true}, []string{"::ffff:10.0.0.2", "10.0.0.1"}, "10.0.0.2"},
	} {
		c.cfg.Info.Name, c.cfg.Discovery = "c", LogicalDNS
		c.cfg.Endpoints = []*exchange.Endpoint{{Host: "a", Address: netip.AddrPortFrom(netip.Addr{}, 80), Weight: 1}}
		cluster := NewRegistry(Options{}).Apply(map[string]*Config{"c": &c.cfg}, nil).Get("c")
		var addrs []netip.Addr
		for _, a := range c.answer {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		cluster.resolved(&c.cfg, answers{"a": {addrs: []netip.Addr{netip.MustParseAddr("10.0.0.9")}}}, true)
		before := cluster.Hosts()[0]
		cluster.resolved(&c.cfg, answers{"a": {addrs: addrs}}, true)
		if got := addresses(cluster); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: got %v, want %s", name, got, c.want)
		}
		if cluster.Hosts()[0] != before {
			t.Errorf("%s: another host", name)
		}
		if at := netip.AddrPortFrom(netip.MustParseAddr(c.want), 80).String(); cluster.Pinned(at) != before {
			t.Errorf("%s: nobody can stay with %s", name, at)
		}
	}
}

// twoAddresses listens at one port of two addresses.
func twoAddresses(t *testing.T) (one, other net.Listener) {
	t.Helper()
	for range 20 { // the port that one is given may be taken at the other
		one, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if other, err = net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), one.Addr().(*net.TCPAddr).AddrPort().Port()).String()); err == nil {
			return one, other
		}
		_ = one.Close()
	}
	t.Fatal("no port is free at both addresses")
	return nil, nil
}

// TestLogicalDNSKeepsConnections: connections to an address that a name had are used on, as in Envoy; new ones go to the address that it has.
func TestLogicalDNSKeepsConnections(t *testing.T) {
	ln, other := twoAddresses(t)
	defer ln.Close()
	defer other.Close()
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	var closed atomic.Int32
	var dialled []string
	registry := NewRegistry(Options{HTTP1: func(conn net.Conn, _ *exchange.TransportInfo) (exchange.Transport, error) {
		dialled = append(dialled, conn.RemoteAddr().(*net.TCPAddr).IP.String())
		return &wire{slots: 1, closed: &closed}, conn.Close()
	}})
	cfg := &Config{Info: exchange.ClusterInfo{Name: "c"}, Discovery: LogicalDNS,
		Endpoints: []*exchange.Endpoint{{Host: "a", Address: netip.AddrPortFrom(netip.Addr{}, port), Weight: 1}}}
	c := registry.Apply(map[string]*Config{"c": cfg}, nil).Get("c")
	leads := func(at string) {
		c.resolved(cfg, answers{"a": {addrs: []netip.Addr{netip.MustParseAddr(at)}}}, true)
	}
	leads("127.0.0.1")
	one := open(t, c)
	one.Close(time.Time{})
	leads("127.0.0.2")
	one = open(t, c)
	if got := one.Endpoint().Address.Addr().String(); !one.Reused() || closed.Load() != 0 || got != "127.0.0.1" {
		t.Errorf("reused %v, %d closed, said to lead to %s", one.Reused(), closed.Load(), got)
	}
	two := open(t, c)
	if got := two.Endpoint().Address.Addr().String(); !slices.Equal(dialled, []string{"127.0.0.1", "127.0.0.2"}) || got != "127.0.0.2" {
		t.Errorf("dialled %v, said to lead to %s", dialled, got)
	}
	registry.Apply(nil, nil)
	one.Close(time.Time{})
	two.Close(time.Time{})
	if closed.Load() != 2 {
		t.Errorf("%d closed when the cluster goes", closed.Load())
	}
}
