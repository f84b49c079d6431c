package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// gate is a handshaker that waits to be let through, or for the end of its context.
type gate struct {
	begun chan struct{}
	open  chan error
	ended atomic.Int32
}

func newGate() *gate { return &gate{begun: make(chan struct{}, 10), open: make(chan error, 10)} }

func (g *gate) Handshake(ctx context.Context, raw net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	g.begun <- struct{}{}
	select {
	case err := <-g.open:
		return raw, nil, err
	case <-ctx.Done():
		g.ended.Add(1)
		return nil, nil, ctx.Err()
	}
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("never: %s", what)
		}
	}
}

// abandoned has a request begin a connection and give up.
func abandoned(t *testing.T, h *Host, g *gate) {
	t.Helper()
	x, done := newExchange(), make(chan exchange.Outcome)
	go func() {
		_, o := h.Open(x, nil, time.Time{})
		done <- o
	}()
	<-g.begun
	x.Cancel()
	if o := <-done; o != exchange.ClientGone {
		t.Fatal(o.Details())
	}
}

// TestConnectingOutlivesItsRequest: a connection that takes longer than the request has that began it serves the next ones, as in Envoy.
func TestConnectingOutlivesItsRequest(t *testing.T) {
	for _, proto := range []WireProtocol{UseHTTP1, UseHTTP2} {
		g := newGate()
		c, wires, _ := pooled(t, Config{Protocol: proto, Sockets: []Socket{{TLS: g}}, Limits: Limits{Pending: 1}})
		h := c.Hosts()[0]
		for range 3 { // which all wait for the one connection
			if _, o := h.Open(newExchange(), nil, time.Now().Add(20*time.Millisecond)); o != exchange.Timeout {
				t.Fatal(o.Details())
			}
		}
		if c.connections.Load() != 1 || c.pending.Load() != 0 || h.Active() != 0 || len(g.begun) != 1 {
			t.Errorf("%d connections, %d pending, %d active, %d begun", c.connections.Load(), c.pending.Load(), h.Active(), len(g.begun))
		}
		g.open <- nil
		l := open(t, c)
		if l.Reused() || len(*wires) != 1 {
			t.Errorf("used before: %t, %d connections", l.Reused(), len(*wires))
		}
		l.Close(time.Time{})
		if c.connections.Load() != 1 || c.pending.Load() != 0 || c.requests.Load() != 0 || h.Active() != 0 {
			t.Errorf("%d connections, %d pending, %d requests, %d active", c.connections.Load(), c.pending.Load(), c.requests.Load(), h.Active())
		}
	}
}

// TestWaitersTakeWhatWasAbandoned: one waits for one connection that nobody else waits for, and gets its failure too; others begin their own.
func TestWaitersTakeWhatWasAbandoned(t *testing.T) {
	for _, failure := range []error{nil, errors.New("no")} {
		g := newGate()
		c, wires, _ := pooled(t, Config{Sockets: []Socket{{TLS: g}}})
		h := c.Hosts()[0]
		abandoned(t, h, g)
		got, served := make(chan exchange.Outcome, 2), make(chan struct{})
		ask := func() {
			x := newExchange()
			l, o := h.Open(x, nil, time.Time{})
			if o == exchange.ConnectFailure && x.Upstream.Failure != "no" {
				t.Errorf("got %q", x.Upstream.Failure)
			}
			got <- o
			<-served // or the other may be served by the same connection
			l.Close(time.Time{})
		}
		go ask()
		eventually(t, "the first waits", func() bool { return c.pending.Load() == 1 })
		go ask()
		<-g.begun   // the second's own
		go func() { // as often as is asked: one whose turn comes just when the other's fails tries for itself
			for {
				select {
				case g.open <- failure:
				case <-served:
					return
				}
			}
		}()
		want := exchange.OK
		if failure != nil {
			want = exchange.ConnectFailure
		}
		for range 2 {
			if o := <-got; o != want {
				t.Errorf("%v: %s", failure, o.Details())
			}
		}
		close(served)
		if failure == nil && (len(g.begun) != 0 || len(*wires) != 2) {
			t.Errorf("%d more begun, %d connections", len(g.begun), len(*wires))
		}
	}
}

// TestWhatWasAbandonedGrows: those who wait for it go on when its peer allows more than it did at first.
func TestWhatWasAbandonedGrows(t *testing.T) {
	g := newGate()
	c, wires, _ := pooled(t, Config{Protocol: UseHTTP2, Sockets: []Socket{{TLS: g}}, Limits: Limits{Connections: 1}})
	h, got := c.Hosts()[0], make(chan exchange.Outcome, 300)
	abandoned(t, h, g)
	for range cap(got) {
		go func() {
			_, o := h.Open(newExchange(), nil, time.Time{})
			got <- o
		}()
	}
	waiting := func(n int) func() bool { return func() bool { return c.pending.Load() == int64(n) } }
	eventually(t, "all wait", waiting(cap(got)))
	g.open <- nil
	eventually(t, "two have places", waiting(cap(got)-2))
	p := h.all()[0]
	p.mu.Lock() // which reads slots
	(*wires)[0].slots = cap(got)
	p.mu.Unlock()
	(*wires)[0].info.Grown()
	eventually(t, "all go on", func() bool { return len(got) == cap(got) })
	for range cap(got) {
		if o := <-got; o != exchange.OK {
			t.Fatal(o.Details())
		}
	}
	if len(*wires) != 1 || c.connections.Load() != 1 || c.pending.Load() != 0 {
		t.Errorf("%d connections, %d counted, %d pending", len(*wires), c.connections.Load(), c.pending.Load())
	}
}

// TestAbandonedConnectionsEnd: with the pool that they were for, and after the time that connecting may take.
func TestAbandonedConnectionsEnd(t *testing.T) {
	for name, end := range map[string]func(*Cluster){
		"the cluster goes":      func(c *Cluster) { c.owner.Apply(nil, nil) },
		"the host goes":         func(c *Cluster) { cfg := *c.config(); cfg.Endpoints = nil; c.apply(&cfg, nil) },
		"the setting changes":   func(c *Cluster) { cfg := *c.config(); cfg.Sockets = nil; c.apply(&cfg, nil) },
		"the identity changes":  func(c *Cluster) { h := c.Hosts()[0]; h.describe(as("spiffe://td/ns/a/sa/b", h), h.face.Load().channel) },
		"nothing, but its time": func(*Cluster) {},
	} {
		g := newGate()
		c, wires, _ := pooled(t, Config{ConnectTimeout: 200 * time.Millisecond, Sockets: []Socket{{TLS: g}}})
		abandoned(t, c.Hosts()[0], g)
		if c.connections.Load() != 1 {
			t.Errorf("%s: %d connections", name, c.connections.Load())
		}
		end(c)
		eventually(t, name, func() bool { return c.connections.Load() == 0 && g.ended.Load() == 1 })
		if len(*wires) != 0 {
			t.Errorf("%s: %d connections were made", name, len(*wires))
		}
	}
}

// as is a host's endpoint with another identity.
func as(identity string, h *Host) *exchange.Endpoint {
	ep := *h.Endpoint()
	ep.Identity = identity
	return &ep
}

// TestGivenUpAfterTheEnd: a request of before gives up on a connection of a pool that is gone, and it ends.
func TestGivenUpAfterTheEnd(t *testing.T) {
	g := newGate()
	c, _, _ := pooled(t, Config{Sockets: []Socket{{TLS: g}}})
	h, x, done := c.Hosts()[0], newExchange(), make(chan exchange.Outcome)
	go func() {
		_, o := h.Open(x, nil, time.Time{})
		done <- o
	}()
	<-g.begun
	c.owner.Apply(nil, nil)
	x.Cancel()
	<-done
	eventually(t, "the connection ends", func() bool { return c.connections.Load() == 0 && g.ended.Load() == 1 })
}

// hasty secures connections in a moment, of which some fail.
type hasty struct{}

func (hasty) Handshake(_ context.Context, raw net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	if rand.IntN(4) == 0 {
		return nil, nil, errors.New("no")
	}
	return raw, nil, nil
}

// TestCountsAfterManyGaveUp: whatever comes first, the connection or the end of the wait, nothing is counted twice or for ever.
func TestCountsAfterManyGaveUp(t *testing.T) {
	for _, proto := range []WireProtocol{UseHTTP1, UseHTTP2} {
		c, _, _ := pooled(t, Config{Protocol: proto, Sockets: []Socket{{TLS: hasty{}}}, Limits: Limits{Connections: 8}})
		h := c.Hosts()[0]
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 50 {
					l, o := h.Open(newExchange(), nil, time.Now().Add(time.Duration(rand.IntN(2000))*time.Microsecond))
					if o == exchange.OK {
						l.Close(time.Time{})
					}
				}
			})
		}
		wg.Wait()
		if c.pending.Load() != 0 || c.requests.Load() != 0 || h.Active() != 0 {
			t.Errorf("%d pending, %d requests, %d active", c.pending.Load(), c.requests.Load(), h.Active())
		}
		c.owner.Apply(nil, nil)
		eventually(t, "no connection is left", func() bool { return c.connections.Load() == 0 })
		for _, p := range h.all() {
			p.mu.Lock()
			if p.total != 0 || p.dialing != 0 || len(p.orphans) != 0 || p.waiters.Len() != 0 || len(p.free)+len(p.links) != 0 {
				t.Errorf("left: %d of all, %d in the making, %d of them abandoned, %d waiters, %d free", p.total, p.dialing, len(p.orphans), p.waiters.Len(), len(p.free)+len(p.links))
			}
			p.mu.Unlock()
		}
	}
}

// slow is a handshaker that takes its time to fail, or panics.
type slow struct {
	n     atomic.Int32
	panic bool
}

func (s *slow) Handshake(context.Context, net.Conn, *exchange.Endpoint, string, exchange.Protocol) (net.Conn, *exchange.Security, error) {
	s.n.Add(1)
	time.Sleep(50 * time.Millisecond)
	if s.panic {
		panic("on purpose")
	}
	return nil, nil, errors.New("no")
}

// TestWaitersShareAFailure: who waits for a shared connection fails with it, and does not dial one after the other.
func TestWaitersShareAFailure(t *testing.T) {
	s := &slow{}
	c, _, _ := pooled(t, Config{Protocol: UseHTTP2, Sockets: []Socket{{TLS: s}}})
	panics := make(chan any, 1)
	c.owner.opts.Recovered = func(v any) { panics <- v }
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			x := newExchange()
			if _, o := c.Hosts()[0].Open(x, nil, time.Time{}); o != exchange.ConnectFailure || x.Upstream.Failure != "no" {
				t.Errorf("got %v %q", o, x.Upstream.Failure)
			}
		})
	}
	wg.Wait()
	if n := s.n.Load(); n != 1 || c.connections.Load() != 0 {
		t.Errorf("%d dials, %d connections counted", n, c.connections.Load())
	}
	s.panic = true
	if _, o := c.Hosts()[0].Open(newExchange(), nil, time.Time{}); o != exchange.Panicked || <-panics == nil {
		t.Errorf("a panic is not ours to hide: %s", o.Details())
	}
	if _, begun, _ := c.Hosts()[0].pool(c.Hosts()[0].face.Load(), poolKey{proto: exchange.HTTP2}).take(time.Time{}, false); begun == nil {
		t.Error("after a panic nobody may dial")
	}
}
