package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// held is a resolver whose answers wait.
type held struct{ asked, answer chan struct{} }

func (h *held) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	h.asked <- struct{}{}
	<-h.answer
	return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
}

// TestDNSClusterBecomesAnother: an answer that comes late says nothing about endpoints that are assigned by now, and a cluster that goes
// back to names is looked up again.
func TestDNSClusterBecomesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &held{make(chan struct{}, 10), make(chan struct{}, 10)}
		r := NewRegistry(Options{Resolver: h})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		info := exchange.ClusterInfo{Name: "c"}
		byName := map[string]*Config{"c": {Info: info, Discovery: StrictDNS, Endpoints: []*exchange.Endpoint{{Host: "a", Weight: 1}}}}
		given := map[string]*Assignment{"c": {Name: "c", Endpoints: []*exchange.Endpoint{endpoint(b), endpoint(d)}}}
		r.Apply(byName, nil)
		<-h.asked
		set := r.Apply(map[string]*Config{"c": {Info: info}}, given)
		h.answer <- struct{}{}
		synctest.Wait()
		time.Sleep(5 * time.Minute)
		if hs := set.Get("c").Hosts(); len(hs) != 2 {
			t.Errorf("%d hosts of those that were assigned", len(hs))
		}
		set = r.Apply(byName, nil)
		<-h.asked
		h.answer <- struct{}{}
		synctest.Wait()
		if hs := set.Get("c").Hosts(); len(hs) != 1 || hs[0].Endpoint().Address.Addr().String() != "10.0.0.1" {
			t.Errorf("back to names: %d hosts", len(hs))
		}
		cancel()
		close(h.answer)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// stuck is a handshaker that waits for the end of its context, as an address that nobody answers for does.
type stuck struct{ begun chan struct{} }

func (s stuck) Handshake(ctx context.Context, _ net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	s.begun <- struct{}{}
	<-ctx.Done()
	return nil, nil, ctx.Err()
}

// watcher is a client that notes when it is watched.
type watcher struct{ events []string }

func (w *watcher) Watch()   { w.events = append(w.events, "watch") }
func (w *watcher) Unwatch() { w.events = append(w.events, "unwatch") }

// TestDiallingCounts: a host that lets dialling wait is busy to the balancer, and the client is watched meanwhile.
func TestDiallingCounts(t *testing.T) {
	s := stuck{make(chan struct{}, 1)}
	c, _, _ := pooled(t, Config{Sockets: []Socket{{TLS: s}}})
	x, w, done := newExchange(), &watcher{}, make(chan exchange.Outcome)
	go func() {
		_, o := c.Hosts()[0].Open(x, w, time.Time{})
		done <- o
	}()
	<-s.begun
	if n := c.Hosts()[0].Active(); n != 1 {
		t.Errorf("%d active while dialling", n)
	}
	x.Cancel()
	if o := <-done; o != exchange.ClientGone || c.Hosts()[0].Active() != 0 {
		t.Errorf("%s, %d active", o.Details(), c.Hosts()[0].Active())
	}
	if len(w.events) != 2 || w.events[0] != "watch" || w.events[1] != "unwatch" {
		t.Errorf("got %v", w.events)
	}
}

// TestPendingWhileDialling: a request waits for its connection while that is made, too: others overflow meanwhile, whatever they want to speak.
func TestPendingWhileDialling(t *testing.T) {
	for _, first := range []WireProtocol{UseHTTP1, UseHTTP2} {
		s := stuck{make(chan struct{}, 1)}
		c, wires, _ := pooled(t, Config{Protocol: first, Sockets: []Socket{{TLS: s}}, Limits: Limits{Pending: 1}})
		h, x, done := c.Hosts()[0], newExchange(), make(chan exchange.Outcome)
		go func() {
			_, o := h.Open(x, nil, time.Time{})
			done <- o
		}()
		<-s.begun
		if _, o := h.Open(newExchange(), nil, time.Time{}); o != exchange.Overflow {
			t.Errorf("another request: %v", o.Details())
		}
		if _, o, _ := h.Connect(t.Context(), nil); o != exchange.Overflow {
			t.Errorf("a TCP connection: %v", o.Details())
		}
		x.Cancel()
		if o := <-done; o != exchange.ClientGone || c.pending.Load() != 0 || c.connections.Load() != 1 || h.Active() != 0 || len(*wires) != 0 {
			t.Errorf("%s, %d pending, %d connections, %d active, %d dialled", o.Details(), c.pending.Load(), c.connections.Load(), h.Active(), len(*wires))
		}
	}
}

// TestPendingTCP: a TCP connection waits while it is made, and no longer.
func TestPendingTCP(t *testing.T) {
	c, _, _ := pooled(t, Config{Limits: Limits{Pending: 1}})
	one, o, _ := c.Hosts()[0].Connect(t.Context(), nil)
	two, again, _ := c.Hosts()[0].Connect(t.Context(), nil)
	if o != exchange.OK || again != exchange.OK || c.pending.Load() != 0 {
		t.Fatalf("%s, %s, %d pending", o.Details(), again.Details(), c.pending.Load())
	}
	one.Release()
	two.Release()
}

// TestLimitsOfNone: a limit may let nobody through. A host may have one connection all the same, for requests.
func TestLimitsOfNone(t *testing.T) {
	for name, c := range map[string]struct {
		limits    Limits
		http, tcp exchange.Outcome
		retries   bool
	}{
		"none":        {Limits{}, exchange.OK, exchange.OK, true},
		"connections": {Limits{Connections: None}, exchange.OK, exchange.Overflow, true},
		"pending":     {Limits{Pending: None}, exchange.Overflow, exchange.Overflow, true},
		"requests":    {Limits{Requests: None}, exchange.Overflow, exchange.OK, true},
		"retries":     {Limits{Retries: None}, exchange.OK, exchange.OK, false},
	} {
		cluster, _, _ := pooled(t, Config{Limits: c.limits})
		h := cluster.Hosts()[0]
		conn, o, _ := h.Connect(t.Context(), nil)
		if o != c.tcp {
			t.Errorf("%s: a TCP connection: %s", name, o.Details())
		}
		if o == exchange.OK {
			conn.Release()
		}
		l, o := h.Open(newExchange(), nil, time.Time{})
		if o != c.http {
			t.Errorf("%s: a request: %s", name, o.Details())
		}
		l.Close(time.Time{})
		if cluster.BeginRetry() != c.retries {
			t.Errorf("%s: a retry: %t", name, !c.retries)
		}
	}
}

// TestFastOpenWatchesNobody: watching is for those who wait.
func TestFastOpenWatchesNobody(t *testing.T) {
	c, _, _ := pooled(t, Config{})
	l := open(t, c)
	l.Close(time.Time{})
	w := &watcher{}
	l, o := c.Hosts()[0].Open(newExchange(), w, time.Time{})
	if o != exchange.OK || len(w.events) != 0 {
		t.Errorf("%s, %v", o.Details(), w.events)
	}
	l.Close(time.Time{})
}

// TestTooLongIdle: a connection that was idle for longer than it may is not used again, whenever it was swept last.
func TestTooLongIdle(t *testing.T) {
	c, wires, closed := pooled(t, Config{IdleTimeout: time.Second})
	now := time.Now()
	at := func(d time.Duration) {
		x := newExchange()
		x.UpstreamStart = now.Add(d)
		l, o := c.Hosts()[0].Open(x, nil, time.Time{})
		if o != exchange.OK {
			t.Fatal(o.Details())
		}
		l.Close(x.UpstreamStart)
	}
	at(0)
	at(900 * time.Millisecond)
	if len(*wires) != 1 {
		t.Errorf("%d connections within the time", len(*wires))
	}
	at(2 * time.Second)
	if len(*wires) != 2 || closed.Load() != 1 {
		t.Errorf("%d connections, %d closed after the time", len(*wires), closed.Load())
	}
}

// TestIdentityKeepsPoolsApart: a connection to a workload that proved to be one does not serve exchanges that want another at that address,
// in whatever order the change and the dialling come.
func TestIdentityKeepsPoolsApart(t *testing.T) {
	c, _, _ := pooled(t, Config{Sockets: []Socket{{TLS: &shake{}}}})
	h := c.Hosts()[0]
	before := h.face.Load()
	ep := *before.ep
	ep.Identity = "spiffe://td/ns/a/sa/b"
	h.describe(&ep, before.channel)
	old := h.pool(before, poolKey{proto: exchange.HTTP1}) // by one who had looked before the change
	if h.pool(h.face.Load(), poolKey{proto: exchange.HTTP1}) == old {
		t.Error("one pool for two identities")
	}
}

// broken is a resolver with a defect.
type broken struct{ names }

func (b *broken) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if host == "panic" {
		b.set("panic2", "10.0.0.1")
		panic("on purpose")
	}
	return b.names.LookupNetIP(ctx, network, host)
}

// TestDefectsEndNothing: a panic while a name is looked up is told of, and looking up goes on.
func TestDefectsEndNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var panics atomic.Int32
		r := NewRegistry(Options{Resolver: &broken{}, Recovered: func(any) { panics.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		named := func(host string) map[string]*Config {
			return map[string]*Config{"c": {Info: exchange.ClusterInfo{Name: "c"}, Discovery: StrictDNS, Endpoints: []*exchange.Endpoint{{Host: host, Weight: 1}}}}
		}
		r.Apply(named("panic"), nil)
		time.Sleep(500 * time.Millisecond)
		if n := panics.Load(); n != 2 { // there are two look-ups at the start
			t.Errorf("%d panics told of", n)
		}
		set := r.Apply(named("panic2"), nil)
		time.Sleep(2 * time.Second)
		if n := len(set.Get("c").Hosts()); n != 1 {
			t.Errorf("%d hosts afterwards", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// resuming is a handshaker whose first handshakes resume a session that is over.
type resuming struct{ stale, n int }

func (r *resuming) Handshake(_ context.Context, c net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	if r.n++; r.n <= r.stale {
		return nil, nil, fmt.Errorf("refusing server: %w", exchange.ErrSession)
	}
	return c, &exchange.Security{}, nil
}

// TestSessionsThatAreOver: where a session of before does not hold any more, a new one is begun on a new connection, once.
func TestSessionsThatAreOver(t *testing.T) {
	for stale, want := range map[int]exchange.Outcome{1: exchange.OK, 9: exchange.ConnectFailure} {
		r := &resuming{stale: stale}
		c, _, _ := pooled(t, Config{Sockets: []Socket{{TLS: r}}})
		if _, o := c.Hosts()[0].Open(newExchange(), nil, time.Time{}); o != want || r.n != 2 {
			t.Errorf("%d sessions that are over: %v after %d handshakes", stale, o, r.n)
		}
	}
}

// TestKeepalive: connections are kept alive where the cluster says so, and as the system has it in what it does not say; net.Dialer alone would do it everywhere.
func TestKeepalive(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type options struct{ on, idle, interval, count int }
	of := func(c net.Conn) (o options) {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		get := func(fd uintptr, level, name int) int {
			v, err := unix.GetsockoptInt(int(fd), level, name)
			if err != nil {
				t.Error(err)
			}
			return v
		}
		if err := raw.Control(func(fd uintptr) {
			o = options{get(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE), get(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE),
				get(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), get(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)}
		}); err != nil {
			t.Error(err)
		}
		return o
	}
	bare, err := (&net.Dialer{KeepAlive: -1}).Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	system := of(bare)
	for name, c := range map[string]struct {
		cfg  net.KeepAliveConfig
		want options
	}{
		"nothing is said": {net.KeepAliveConfig{}, options{0, system.idle, system.interval, system.count}},
		"no numbers":      {net.KeepAliveConfig{Enable: true, Idle: -time.Second, Interval: -time.Second, Count: -1}, options{1, system.idle, system.interval, system.count}},
		"one number":      {net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: -time.Second, Count: -1}, options{1, 60, system.interval, system.count}},
		"all the numbers": {net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 7 * time.Second, Count: 4}, options{1, 60, 7, 4}},
	} {
		conn, o, why := live(Config{Keepalive: c.cfg}, endpoint(ln.Addr().String())).Hosts()[0].Connect(t.Context(), nil)
		if o != exchange.OK {
			t.Fatal(why)
		}
		if got := of(conn.Conn); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
		conn.Release()
	}
}
