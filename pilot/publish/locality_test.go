package publish

import (
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// in moves a pod to a zone.
func (c *cluster) in(zone, pod string) {
	moved := *c.workloads[model.Name{Namespace: "shop", Name: pod}]
	moved.Locality = model.Locality{Region: "eu", Zone: zone}
	c.workloads[moved.Name] = &moved
}

// TestOnlyNearnessIsAZonesOwn: where a service prefers near endpoints, proxies of different zones differ in its assignment and nothing else; a proxy
// that turns out to be elsewhere is told that one anew.
func TestOnlyNearnessIsAZonesOwn(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("db", "10.96.0.1")
		c.service("cache", "10.96.0.2")
		c.pod("web-1", "web", true)
		c.pod("web-2", "web", true)
		c.in("a", "web-1")
		c.in("b", "web-2")
		c.all(p)
		one, two := c.subscribe(t, p, "web-1", "web", wire.NodeSidecar), c.subscribe(t, p, "web-2", "web", wire.NodeSidecar)

		near := *c.services[0]
		near.Locality = &model.LocalityPolicy{Always: true}
		c.services[0] = &near
		key := model.EndpointKey{Host: near.Host, Namespace: "shop", Port: 80}
		c.sets[key] = &model.EndpointSet{Key: key, Endpoints: []*model.Endpoint{
			{Address: "10.1.0.1", Port: 8080, Locality: model.Locality{Region: "eu", Zone: "a"}}, {Address: "10.1.0.2", Port: 8080, Locality: model.Locality{Region: "eu", Zone: "b"}},
		}}
		p.SetSnapshot(c.snapshot())
		name := "outbound|80||db.shop.svc.cluster.local"
		if a, b := told(one), told(two); !strings.Contains(a, "ClusterLoadAssignment/"+name) || a != b {
			t.Errorf("told of %s, and %s", a, b)
		}
		if one.state.Load().outer != two.state.Load().outer {
			t.Error("zones do not share what depends on no place")
		}
		p.SetEndpoints(c.index())
		told(one)
		told(two)
		version := func(of *client, typ, name string) string { return of.View().Get(t.Context(), typ, name).Version }
		if version(one, wire.TypeEndpoints, name) == version(two, wire.TypeEndpoints, name) {
			t.Error("two zones have the same order")
		}
		if other := "outbound|80||cache.shop.svc.cluster.local"; version(one, wire.TypeEndpoints, other) != version(two, wire.TypeEndpoints, other) {
			t.Error("two zones are told differently of a service without a preference")
		}

		c.in("b", "web-1")
		p.SetWorkloads(c.pods())
		if got := told(one); got != "ClusterLoadAssignment/"+name {
			t.Errorf("a proxy that is elsewhere is told of %s", got)
		}
		if version(one, wire.TypeEndpoints, name) != version(two, wire.TypeEndpoints, name) {
			t.Error("one zone has two orders")
		}
		if scope := p.ScopeOf("web-1.shop"); !strings.Contains(scope, "by where it is: eu/b/") {
			t.Errorf("scope is told as %q", scope)
		}
	})
}
