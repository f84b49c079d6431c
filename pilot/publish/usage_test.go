package publish

import (
	"fmt"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
)

// onDemand subscribes a sidecar that asks for what it uses.
func (c *cluster) onDemand(t *testing.T, p *Publisher, pod, app string) *client {
	t.Helper()
	sub, err := p.Subscribe(t.Context(), discovery.Caller{Identity: identity(app), Namespace: "shop", Pod: pod},
		discovery.Node{ID: "sidecar~" + pod, Role: wire.NodeSidecar, Dialect: wire.Dialect, OnDemand: true})
	if err != nil {
		t.Fatal(err)
	}
	return sub.(*client)
}

// TestSiblingsShareWhatTheyUse holds for replicas that are connected, for later ones, and for a while after the last one left.
func TestSiblingsShareWhatTheyUse(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("a", "10.96.0.1")
		c.service("b", "10.96.0.2")
		for _, pod := range []string{"web-1", "web-2", "web-3", "lone-1"} {
			c.pod(pod, pod[:len(pod)-2], true)
		}
		c.all(p)
		first, second, lone := c.onDemand(t, p, "web-1", "web"), c.onDemand(t, p, "web-2", "web"), c.onDemand(t, p, "lone-1", "lone")
		if hosts := first.View().All(wire.TypeVirtualHost); len(hosts) > 0 || len(first.View().All(wire.TypeCluster)) > 3 {
			t.Errorf("it is told of %d hosts without asking", len(hosts))
		}
		told(second)
		told(lone)
		first.Asked(wire.TypeVirtualHost, map[string]bool{"80/a": true, "80/nowhere": true, "81/a": true})
		if got := told(second); got != "VirtualHost/80/a" {
			t.Errorf("a sibling is told of %q", got)
		}
		if got := told(lone); got != "" {
			t.Errorf("another workload is told of %q", got)
		}
		if got := told(first); got != "" {
			t.Errorf("who asked is told of %q", got)
		}
		first.Close()
		second.Close()
		later := c.onDemand(t, p, "web-3", "web")
		if hosts := later.View().All(wire.TypeVirtualHost); len(hosts) != 1 || hosts[0].Name != "80/a" {
			t.Errorf("a later replica is told of %v", hosts)
		}
		later.Close()
		p.forgetUsages(time.Now().Add(usageLife + time.Second))
		if again := c.onDemand(t, p, "web-1", "web"); len(again.View().All(wire.TypeVirtualHost)) > 0 {
			t.Error("what nobody uses any more is remembered")
		}
	})
}

// TestUsageIsBounded holds against clients that make up names below a wildcard host.
func TestUsageIsBounded(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("a", "10.96.0.1")
		c.services[0].Host = "*.shop.example" // a ServiceEntry's host
		c.pod("web-1", "web", true)
		c.all(p)
		first := c.onDemand(t, p, "web-1", "web")
		for i := range 2 * maxUsed {
			first.Asked(wire.TypeVirtualHost, map[string]bool{fmt.Sprintf("80/x%d.shop.example", i): true})
		}
		if n := len(first.View().All(wire.TypeVirtualHost)); n != maxUsed {
			t.Errorf("%d names are remembered, want %d", n, maxUsed)
		}
	})
}
