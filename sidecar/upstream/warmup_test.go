package upstream

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/check"
)

// six are endpoints of six ports.
func six() (eps []*exchange.Endpoint) {
	for port := 90; port <= 95; port++ {
		eps = append(eps, endpoint(fmt.Sprintf("127.0.0.1:%d", port)))
	}
	return eps
}

// TestWarmupFactor: Envoy's formula, max(minimum, (age / window) ^ (1 / aggression)).
func TestWarmupFactor(t *testing.T) {
	linear := Warmup{Window: 10 * time.Second, Least: 0.1, Aggression: 1}
	quick := Warmup{Window: 10 * time.Second, Least: 0.1, Aggression: 2}
	open := Warmup{Window: 10 * time.Second, Aggression: 1}
	for _, c := range []struct {
		w    Warmup
		age  time.Duration
		want float64
	}{
		{linear, 0, 0.1}, {linear, time.Second, 0.1}, {linear, 5 * time.Second, 0.5}, {linear, 10 * time.Second, 1}, {linear, time.Hour, 1},
		{quick, 0, 0.1}, {quick, 2500 * time.Millisecond, 0.5}, {quick, 8100 * time.Millisecond, 0.9}, {open, 0, 0.0001}, {open, -time.Second, 0.0001},
	} {
		if got := c.w.factor(c.age); got < c.want-1e-9 || got > c.want+1e-9 {
			t.Errorf("%+v after %s: %v, want %v", c.w, c.age, got, c.want)
		}
	}
}

// TestWarmup: a new host takes on traffic by and by, and again after it was unhealthy; hosts that are equally new share as usual.
func TestWarmup(t *testing.T) {
	for name, balancer := range map[string]Balancer{"round robin": RoundRobin, "least request": LeastRequest} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := &Config{Info: exchange.ClusterInfo{Name: "c"}, Balancer: balancer, Warmup: &Warmup{Window: time.Minute, Least: 0.1, Aggression: 1}}
				r := NewRegistry(Options{})
				apply := func(eps ...*exchange.Endpoint) *Cluster {
					return r.Apply(map[string]*Config{"c": cfg}, map[string]*Assignment{"c": {Endpoints: eps}}).Get("c")
				}
				check := func(says string, c *Cluster, address string, percent float64) {
					t.Helper()
					const picks = 20_000
					if got := 100 * float64(count(c, picks)[address]) / picks; got < percent-2 || got > percent+2 {
						t.Errorf("%s: %s has %.1f %%, want %.1f", says, address, got, percent)
					}
				}
				c := apply(endpoint(a), endpoint(b))
				check("all new", c, a, 50)
				time.Sleep(2 * time.Minute)
				check("all there for long", c, a, 50)
				c = apply(endpoint(a), endpoint(b), endpoint(d))
				check("just came", c, d, 100*0.1/2.1)
				time.Sleep(30 * time.Second)
				check("half way", c, d, 100*0.5/2.5)
				c = apply(endpoint(a), endpoint(b), endpoint(d))
				check("a change does not begin it anew", c, d, 100*0.5/2.5)
				time.Sleep(time.Minute)
				check("warm", c, d, 100.0/3)
				c = apply(endpoint(a), endpoint(b), endpoint(d, unhealthy))
				check("unhealthy", c, d, 0)
				c = apply(endpoint(a), endpoint(b), endpoint(d))
				check("healthy again", c, d, 100*0.1/2.1)
				c = apply(endpoint(a), endpoint(b), endpoint(d, weight(8)))
				check("by weight", c, d, 100*0.8/2.8)
			})
		})
	}
}

// TestWarmupAfterChecks: where hosts are checked, a host is new when it passes, and again when it passes after it had failed; as in Envoy.
func TestWarmupAfterChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := live(Config{Health: &check.Config{}, Warmup: &Warmup{Window: time.Minute, Least: 0.1, Aggression: 1}}, endpoint(a), endpoint(b))
		fresh := c.Hosts()[1]
		share := func(says string, percent float64) {
			t.Helper()
			const picks = 20_000
			if got := 100 * float64(count(c, picks)[b]) / picks; got < percent-2 || got > percent+2 {
				t.Errorf("%s: %.1f %%, want %.1f", says, got, percent)
			}
		}
		c.Hosts()[0].verdict(false)
		time.Sleep(2 * time.Minute)
		fresh.verdict(false)
		share("passed, though it has been there for long", 100*0.1/1.1)
		time.Sleep(30 * time.Second)
		fresh.verdict(false)
		share("passed once more", 100*0.5/1.5)
		time.Sleep(time.Minute)
		share("warm", 50)
		fresh.verdict(true)
		share("failed", 0)
		time.Sleep(time.Second)
		fresh.verdict(false)
		share("passed again", 100*0.1/1.1)
	})
}

func BenchmarkPickWarming(b *testing.B) {
	c := live(Config{Warmup: &Warmup{Window: time.Hour, Least: 0.1, Aggression: 1.5}}, six()...)
	c.Hosts()[0].since.Store(0)
	c.reschedule()
	b.ReportAllocs()
	for b.Loop() {
		c.Pick(netip.AddrPort{}, nil, 1)
	}
}
