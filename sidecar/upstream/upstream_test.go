package upstream

import (
	"context"
	"errors"
	"fmt"
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

func endpoint(s string, change ...func(*exchange.Endpoint)) *exchange.Endpoint {
	ep := &exchange.Endpoint{Address: netip.MustParseAddrPort(s), Weight: 1}
	for _, f := range change {
		f(ep)
	}
	return ep
}

func weight(n uint32) func(*exchange.Endpoint) { return func(e *exchange.Endpoint) { e.Weight = n } }
func priority(n uint32) func(*exchange.Endpoint) {
	return func(e *exchange.Endpoint) { e.Priority = n }
}
func unhealthy(e *exchange.Endpoint) { e.Unhealthy = true }
func zone(r, z string) func(*exchange.Endpoint) {
	return func(e *exchange.Endpoint) { e.Locality = exchange.Locality{Region: r, Zone: z} }
}

// live makes a cluster of endpoints.
func live(cfg Config, eps ...*exchange.Endpoint) *Cluster {
	cfg.Info.Name, cfg.Discovery, cfg.Endpoints = "c", Static, eps
	return NewRegistry(Options{}).Apply(map[string]*Config{"c": &cfg}, nil).Get("c")
}

// count picks n times and counts hosts.
func count(c *Cluster, n int) map[string]int {
	got := map[string]int{}
	for range n {
		if h, o := c.Pick(netip.AddrPort{}, nil, 1); o == exchange.OK {
			got[h.Endpoint().Address.String()]++
		} else {
			got[o.Flag().String()]++
		}
	}
	return got
}

const a, b, d = "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"

func TestPick(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		eps  []*exchange.Endpoint
		want map[string]int // of 400, within 60
	}{
		"nobody":                   {Config{}, nil, map[string]int{"UH": 400}},
		"only unhealthy":           {Config{}, []*exchange.Endpoint{endpoint(a, unhealthy)}, map[string]int{"UH": 400}},
		"panic uses everybody":     {Config{Panic: 50, Balancer: RoundRobin}, []*exchange.Endpoint{endpoint(a, unhealthy), endpoint(b, unhealthy), endpoint(d)}, map[string]int{a: 133, b: 133, d: 133}},
		"no panic above threshold": {Config{Panic: 30, Balancer: RoundRobin}, []*exchange.Endpoint{endpoint(a, unhealthy), endpoint(d)}, map[string]int{d: 400}},
		"round robin":              {Config{Balancer: RoundRobin}, []*exchange.Endpoint{endpoint(a), endpoint(b)}, map[string]int{a: 200, b: 200}},
		"round robin by weight":    {Config{Balancer: RoundRobin}, []*exchange.Endpoint{endpoint(a, weight(30)), endpoint(b, weight(10))}, map[string]int{a: 300, b: 100}},
		"odd weights":              {Config{Balancer: RoundRobin}, []*exchange.Endpoint{endpoint(a, weight(100003)), endpoint(b, weight(300007))}, map[string]int{a: 100, b: 300}},
		"random":                   {Config{Balancer: Random}, []*exchange.Endpoint{endpoint(a), endpoint(b)}, map[string]int{a: 200, b: 200}},
		"random, without weights":  {Config{Balancer: Random}, []*exchange.Endpoint{endpoint(a, weight(1)), endpoint(b, weight(5))}, map[string]int{a: 200, b: 200}},
		"least request, all idle":  {Config{}, []*exchange.Endpoint{endpoint(a), endpoint(b), endpoint(d)}, map[string]int{a: 133, b: 133, d: 133}},
		"best priority only":       {Config{}, []*exchange.Endpoint{endpoint(a, priority(1)), endpoint(b)}, map[string]int{b: 400}},
		"next priority":            {Config{}, []*exchange.Endpoint{endpoint(a, priority(1)), endpoint(b, unhealthy)}, map[string]int{a: 400}},
	} {
		t.Run(name, func(t *testing.T) {
			got := count(live(c.cfg, c.eps...), 400)
			for k, want := range c.want {
				if got[k] < want-60 || got[k] > want+60 {
					t.Errorf("got %v, want %v", got, c.want)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestLeastRequestAvoidsTheBusy(t *testing.T) {
	c := live(Config{}, endpoint(a), endpoint(b))
	c.Hosts()[0].active.Store(10)
	if got := count(c, 100); got[b] != 100 {
		t.Errorf("got %v", got)
	}
}

func TestPickAvoidsTried(t *testing.T) {
	c := live(Config{Balancer: RoundRobin}, endpoint(a), endpoint(b))
	tried := []*Host{c.Hosts()[0]}
	for range 20 {
		if h, _ := c.Pick(netip.AddrPort{}, tried, 5); h == tried[0] {
			t.Fatal("picked a host that was tried")
		}
	}
}

func TestOriginalDestination(t *testing.T) {
	c := live(Config{Balancer: Passthrough})
	dst := netip.MustParseAddrPort("10.9.9.9:80")
	h, o := c.Pick(dst, nil, 1)
	again, _ := c.Pick(dst, nil, 1)
	if o != exchange.OK || h.Endpoint().Address != dst || h != again {
		t.Errorf("got %v %v", h, o)
	}
	if _, o := c.Pick(netip.AddrPort{}, nil, 1); o != exchange.NoHealthyUpstream {
		t.Errorf("without a destination: %v", o)
	}
}

// TestSurvival: what lives is keyed by cluster and address, whatever the configuration does around it.
func TestSurvival(t *testing.T) {
	r := NewRegistry(Options{})
	cfg := &Config{Info: exchange.ClusterInfo{Name: "c"}}
	eds := func(eps ...*exchange.Endpoint) *Set {
		return r.Apply(map[string]*Config{"c": cfg}, map[string]*Assignment{"c": {Name: "c", Endpoints: eps}})
	}
	c := eds(endpoint(a)).Get("c")
	h := c.Hosts()[0]
	c2 := eds(endpoint(a, weight(5)), endpoint(b)).Get("c")
	if c2 != c || len(c.Hosts()) != 2 || c.Hosts()[0] != h || h.Endpoint().Weight != 5 {
		t.Errorf("got %v", c.Hosts())
	}
	eds(endpoint(b))
	if !h.retired || len(c.Hosts()) != 1 {
		t.Error("a host that is gone lives on")
	}
	if r.Apply(nil, nil).Get("c") != nil || !c.retired {
		t.Error("a cluster that is gone lives on")
	}
}

// wire is a transport without a network.
type wire struct {
	slots  int
	open   atomic.Int32
	dead   bool
	closed *atomic.Int32
	info   *exchange.TransportInfo
}

func (w *wire) Open() (exchange.Stream, error) {
	if w.dead {
		return nil, exchange.ErrRefused
	}
	w.open.Add(1)
	return &thread{w: w}, nil
}
func (w *wire) Slots() int                    { return w.slots }
func (w *wire) Usable() bool                  { return !w.dead }
func (w *wire) Alive() bool                   { return !w.dead }
func (w *wire) Info() *exchange.TransportInfo { return w.info }
func (w *wire) Drain()                        {}
func (w *wire) Close() error                  { w.closed.Add(1); return nil }

type thread struct {
	exchange.Stream
	w *wire
}

func (s *thread) Reusable() bool { return !s.w.dead }
func (s *thread) Close()         { s.w.open.Add(-1) }

// pooled makes a cluster whose connections are wires.
func pooled(t *testing.T, cfg Config) (c *Cluster, wires *[]*wire, closed *atomic.Int32) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var mu sync.Mutex
	wires, closed = &[]*wire{}, &atomic.Int32{}
	codec := func(slots int) Codec {
		return func(conn net.Conn, info *exchange.TransportInfo) (exchange.Transport, error) {
			_ = conn.Close()
			w := &wire{slots: slots, closed: closed, info: info}
			mu.Lock()
			defer mu.Unlock()
			*wires = append(*wires, w)
			return w, nil
		}
	}
	cfg.Info.Name, cfg.Discovery, cfg.Endpoints = "c", Static, []*exchange.Endpoint{endpoint(ln.Addr().String())}
	r := NewRegistry(Options{HTTP1: codec(1), HTTP2: codec(2)})
	t.Cleanup(func() { r.Apply(nil, nil) })
	return r.Apply(map[string]*Config{"c": &cfg}, nil).Get("c"), wires, closed
}

func open(t *testing.T, c *Cluster) Lease {
	t.Helper()
	l, o := c.Hosts()[0].Open(newExchange(), nil, time.Time{})
	if o != exchange.OK {
		t.Fatalf("got %v", o.Details())
	}
	return l
}

func newExchange() *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{})
	return x
}

func TestPoolReuses(t *testing.T) {
	c, wires, closed := pooled(t, Config{})
	one := open(t, c)
	two := open(t, c)
	one.Close(time.Time{})
	two.Close(time.Time{})
	three := open(t, c)
	if len(*wires) != 2 || !three.Reused() {
		t.Fatalf("%d connections", len(*wires))
	}
	three.Close(time.Time{})
	for _, w := range *wires {
		w.dead = true // closed by the other side while idle
	}
	l := open(t, c)
	if len(*wires) != 3 || closed.Load() != 2 || l.Reused() {
		t.Errorf("%d connections, %d closed", len(*wires), closed.Load())
	}
	(*wires)[2].dead = true // broken while in use
	l.Close(time.Time{})
	if closed.Load() != 3 || c.connections.Load() != 0 || c.Hosts()[0].Active() != 0 {
		t.Errorf("%d closed, %d counted", closed.Load(), c.connections.Load())
	}
}

func TestPoolShares(t *testing.T) {
	c, wires, _ := pooled(t, Config{Protocol: UseHTTP2})
	var ls []Lease
	for range 5 {
		ls = append(ls, open(t, c))
	}
	if len(*wires) != 3 {
		t.Errorf("five exchanges, two each: %d connections", len(*wires))
	}
	for i := range ls {
		ls[i].Close(time.Time{})
	}
	open(t, c)
	if len(*wires) != 3 {
		t.Errorf("%d connections after all are idle", len(*wires))
	}
}

// TestSlotsThatGrow: those who wait go on when the peer allows more, also beyond what is ample where there may be no other connection.
func TestSlotsThatGrow(t *testing.T) {
	for name, c := range map[string]struct {
		limits                Limits
		slots, asked          int // slots: once they have grown
		begin, wires, waiting int
	}{
		"any number of connections":      {Limits{}, 600, 600, 600, 3, 0},
		"one connection":                 {Limits{Connections: 1}, 600, 600, 600, 1, 0},
		"one connection, and fewer":      {Limits{Connections: 1}, 600, 610, 600, 1, 10},
		"one connection of Envoy's most": {Limits{Connections: 1}, 1 << 31, 1030, 1024, 1, 6},
		"one connection of a number":     {Limits{Connections: 1, Streams: 1500}, 1 << 31, 1510, 1500, 1, 10},
		"one connection, few waiting":    {Limits{Connections: 1, Pending: 1}, 600, 600, 600, 1, 0},
		"two connections":                {Limits{Connections: 2}, 300, 600, 600, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cl, wires, _ := pooled(t, Config{Protocol: UseHTTP2, Limits: c.limits})
			h := cl.Hosts()[0]
			outcomes := make(chan exchange.Outcome, c.asked)
			var waits sync.WaitGroup
			first := open(t, cl)
			open(t, cl)
			ask := func() {
				x := newExchange()
				waits.Go(func() {
					_, o := h.Open(x, nil, time.Time{})
					outcomes <- o
				})
				t.Cleanup(x.Cancel)
			}
			early := 2
			if c.limits.Connections == 1 {
				ask()
				for cl.pending.Load() != 1 {
					time.Sleep(time.Millisecond)
				}
				early++
			}
			(*wires)[0].slots = c.slots
			(*wires)[0].info.Grown()
			begun := 2
			for ; begun < early; begun++ {
				if o := <-outcomes; o != exchange.OK {
					t.Fatalf("who waited: %v", o.Details())
				}
			}
			for begun < c.begin {
				l, o := h.Open(newExchange(), nil, time.Time{})
				if o != exchange.OK {
					t.Fatalf("%d: %v", begun, o.Details())
				}
				l.link.t.(*wire).slots = c.slots
				begun++
			}
			for range c.waiting {
				ask()
			}
			for cl.pending.Load() != int64(c.waiting) {
				time.Sleep(time.Millisecond)
			}
			if len(*wires) != c.wires {
				t.Errorf("%d connections, want %d", len(*wires), c.wires)
			}
			if c.waiting == 0 {
				return
			}
			first.Close(time.Time{}) // there is a place for one of them
			if o := <-outcomes; o != exchange.OK {
				t.Errorf("the next: %v", o.Details())
			}
			if n := cl.pending.Load(); n != int64(c.waiting-1) {
				t.Errorf("%d wait, want %d", n, c.waiting-1)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	c, wires, _ := pooled(t, Config{Limits: Limits{Connections: 1, Pending: 1, RequestsPerConnection: 2, Requests: 1, Retries: 1}})
	one := open(t, c)
	waits := make(chan exchange.Outcome)
	go func() {
		l, o := c.Hosts()[0].Open(newExchange(), nil, time.Time{})
		waits <- o
		l.Close(time.Time{})
	}()
	for c.pending.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, o := c.Hosts()[0].Open(newExchange(), nil, time.Time{}); o != exchange.Overflow {
		t.Errorf("a second pending request: %v", o)
	}
	one.Close(time.Time{})
	if o := <-waits; o != exchange.OK || len(*wires) != 1 {
		t.Errorf("the pending request: %v, %d connections", o, len(*wires))
	}
	time.Sleep(10 * time.Millisecond)
	open(t, c)
	if len(*wires) != 2 {
		t.Errorf("a connection serves more requests than it may: %d", len(*wires))
	}
	if !c.BeginRetry() || c.BeginRetry() {
		t.Error("retries beyond the limit")
	}
	if _, o := c.Hosts()[0].Open(newExchange(), nil, time.Now().Add(20*time.Millisecond)); o != exchange.Timeout {
		t.Errorf("waiting past the deadline: %v", o)
	}
	x := newExchange()
	go func() {
		time.Sleep(20 * time.Millisecond)
		x.Cancel()
	}()
	if _, o := c.Hosts()[0].Open(x, nil, time.Time{}); o != exchange.ClientGone {
		t.Errorf("a client that gave up while waiting: %v", o)
	}
}

// TestRequestLimit: a request counts against the limit of requests while it has a connection, not while it waits for one.
func TestRequestLimit(t *testing.T) {
	c, wires, _ := pooled(t, Config{Limits: Limits{Connections: 1, Pending: 10, Requests: 1}})
	one := open(t, c)
	const waiting = 4
	ends := make(chan exchange.Outcome)
	for range waiting {
		go func() {
			l, o := c.Hosts()[0].Open(newExchange(), nil, time.Time{})
			l.Close(time.Time{})
			ends <- o
		}()
	}
	for c.pending.Load() < waiting {
		time.Sleep(time.Millisecond)
	}
	one.Close(time.Time{})
	for range waiting {
		if o := <-ends; o != exchange.OK {
			t.Errorf("one that had waited: %v", o.Details())
		}
	}
	if len(*wires) != 1 || c.requests.Load() != 0 {
		t.Errorf("%d connections, %d requests left", len(*wires), c.requests.Load())
	}
}

// TestRequestsOverTheLimit: where there are connections enough, a request over the limit overflows, and its connection is there for the next.
func TestRequestsOverTheLimit(t *testing.T) {
	c, wires, closed := pooled(t, Config{Limits: Limits{Requests: 1, RequestsPerConnection: 1}})
	one := open(t, c)
	if _, o := c.Hosts()[0].Open(newExchange(), nil, time.Time{}); o != exchange.Overflow {
		t.Errorf("one over the limit: %v", o.Details())
	}
	one.Close(time.Time{})
	two := open(t, c)
	if len(*wires) != 2 || closed.Load() != 1 || two.Reused() {
		t.Errorf("%d connections, %d closed, reused: %v", len(*wires), closed.Load(), two.Reused())
	}
}

// shake is a handshaker that fails with a text, or succeeds.
type shake struct{ err error }

func (s *shake) Handshake(_ context.Context, c net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	return c, &exchange.Security{Version: "x"}, s.err
}

func TestSockets(t *testing.T) {
	bad := &shake{errors.New("not the identity")}
	cfg := Config{Sockets: []Socket{{Match: map[string]string{"tlsMode": "istio"}, TLS: bad}, {Match: nil}}}
	if cfg.channel(endpoint(a)).tls != nil || cfg.channel(&exchange.Endpoint{TLSMode: "istio"}).tls != Handshaker(bad) {
		t.Error("sockets are chosen by the endpoint's facts")
	}
	c, _, _ := pooled(t, Config{Sockets: []Socket{{TLS: bad}}})
	x := newExchange()
	if _, o := c.Hosts()[0].Open(x, nil, time.Time{}); o != exchange.ConnectFailure || x.Upstream.Failure != "not the identity" {
		t.Errorf("got %v %q", o, x.Upstream.Failure)
	}
}

// TestSocketChange: connections made with one TLS setting do not serve another.
func TestSocketChange(t *testing.T) {
	c, wires, closed := pooled(t, Config{Sockets: []Socket{{TLS: &shake{}}}})
	l := open(t, c)
	l.Close(time.Time{})
	next := *c.Config()
	next.Sockets = []Socket{{TLS: &shake{}}}
	c.owner.Apply(map[string]*Config{"c": &next}, nil)
	l = open(t, c)
	l.Close(time.Time{})
	if len(*wires) != 2 || closed.Load() != 1 {
		t.Errorf("%d connections, %d closed", len(*wires), closed.Load())
	}
}

// servers is a handshaker that notes the server names asked for.
type servers struct{ asked []string }

func (s *servers) Handshake(_ context.Context, c net.Conn, _ *exchange.Endpoint, name string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	s.asked = append(s.asked, name)
	return c, &exchange.Security{}, nil
}

// TestServerNames: where the request says who its server is, no connection serves requests for another, and names that nobody asks for any
// more leave nothing behind.
func TestServerNames(t *testing.T) {
	tls := &servers{}
	c, wires, closed := pooled(t, Config{HostSNI: true, Sockets: []Socket{{TLS: tls}}})
	h := c.Hosts()[0]
	ask := func(authority string) {
		t.Helper()
		x := newExchange()
		x.Request.Authority = x.Request.Intern(authority)
		l, o := h.Open(x, nil, time.Time{})
		if o != exchange.OK {
			t.Fatalf("%s: %v", authority, o)
		}
		l.Close(time.Time{})
	}
	for _, authority := range []string{"a.example.com", "b.example.com", "A.example.com:8080", "b.example.com", "[2001:db8::1]:80", "192.0.2.1"} {
		ask(authority)
	}
	if want := []string{"a.example.com", "b.example.com", ""}; !slices.Equal(tls.asked, want) || len(*wires) != 3 {
		t.Errorf("asked for %q over %d connections, want %q", tls.asked, len(*wires), want)
	}
	now := time.Now()
	c.sweep(now)
	if c.sweep(now.Add(2 * time.Hour)); closed.Load() != 3 || len(h.named) != 0 {
		t.Errorf("%d of 3 idle connections closed, %d names left", closed.Load(), len(h.named))
	}
	if ask("a.example.com"); len(*wires) != 4 {
		t.Errorf("%d connections after all were closed, want 4", len(*wires))
	}
	next := *c.Config()
	next.Sockets = []Socket{{TLS: &servers{}}}
	c.owner.Apply(map[string]*Config{"c": &next}, nil)
	if closed.Load() != 4 {
		t.Error("a connection of the TLS setting before is kept")
	}
}

// names is a resolver whose answers change.
type names struct {
	mu sync.Mutex
	by map[string][]netip.Addr
}

func (n *names) set(host string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.by = map[string][]netip.Addr{}
	for _, a := range addrs {
		n.by[host] = append(n.by[host], netip.MustParseAddr(a))
	}
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if as := n.by[host]; len(as) > 0 {
		return slices.Clone(as), nil
	}
	return nil, fmt.Errorf("no such host %q", host)
}

func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &names{}
		db.set("a", "10.0.0.2", "10.0.0.1")
		r := NewRegistry(Options{Resolver: db})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		named := func(host string) *exchange.Endpoint {
			return &exchange.Endpoint{Host: host, Address: netip.AddrPortFrom(netip.Addr{}, 80), Weight: 1}
		}
		set := r.Apply(map[string]*Config{
			"strict":  {Info: exchange.ClusterInfo{Name: "strict"}, Discovery: StrictDNS, Endpoints: []*exchange.Endpoint{named("a")}},
			"logical": {Info: exchange.ClusterInfo{Name: "logical"}, Discovery: LogicalDNS, Endpoints: []*exchange.Endpoint{named("a")}},
			"none":    {Info: exchange.ClusterInfo{Name: "none"}, Discovery: StrictDNS, Endpoints: []*exchange.Endpoint{named("x")}},
		}, nil)
		if h, o := set.Get("strict").Pick(netip.AddrPort{}, nil, 1); o != exchange.OK || h.Endpoint().Address.Port() != 80 {
			t.Fatalf("the first request waits for the first answer: %v", o)
		}
		synctest.Wait()
		if n, m := len(set.Get("strict").Hosts()), len(set.Get("logical").Hosts()); n != 2 || m != 1 {
			t.Errorf("%d and %d hosts", n, m)
		}
		if _, o := set.Get("none").Pick(netip.AddrPort{}, nil, 1); o != exchange.NoHealthyUpstream {
			t.Errorf("a name that does not resolve: %v", o)
		}
		db.set("a") // a failing look-up keeps the last answer
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(set.Get("strict").Hosts()); n != 2 {
			t.Errorf("%d hosts after a failed look-up", n)
		}
		db.set("a", "10.0.0.9")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if hs := set.Get("strict").Hosts(); len(hs) != 1 || hs[0].Endpoint().Address.String() != "10.0.0.9:80" {
			t.Errorf("got %v", hs)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
