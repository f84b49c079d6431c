package compile

import (
	"maps"
	"slices"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// Config returns the configuration that the resources make, the same pointer as before where nothing in it changed.
//
// What needs something that has not arrived waits, and its version before stays in force: a cluster for its endpoints, a route
// table for its clusters, a listener for its routes. What the control plane does not have is not waited for; nor is what of its first version was refused,
// but where a version before is in force: that stays, until what the next one needs is mended.
func (c *Compiler) Config() *config.Config {
	next := &config.Config{Clusters: map[string]*upstream.Config{}, Endpoints: map[string]*upstream.Assignment{}, Routes: map[string]*route.Table{}}
	for name, e := range c.endpoints {
		next.Endpoints[name] = e.made
	}
	for name, e := range c.clusters {
		e.activate(c.hasEndpoints(e.needs.endpoints) && !c.worse(e.needs, e.inForce))
		if e.live {
			next.Clusters[name] = e.active
		}
	}
	for name, e := range c.routes {
		e.activate(c.clustersReady(e.needs.clusters) && !c.worse(e.needs, e.inForce))
		if e.live {
			next.Routes[name] = e.active
		}
	}
	c.complete(next.Routes)
	for _, name := range slices.Sorted(maps.Keys(c.listeners)) {
		e := c.listeners[name]
		e.activate(c.clustersReady(e.needs.clusters) && c.routesReady(e.needs.routes, next) && !c.worse(e.needs, e.inForce))
		if e.live {
			next.Listeners = append(next.Listeners, e.active)
		}
	}
	next.Names, next.Settled = c.table(), c.settled()
	if same(c.last, next) {
		return c.last
	}
	next.Version = c.version()
	c.forgetWorkloads()
	c.last = next
	return next
}

// forgetWorkloads drops names of workloads that no endpoint has any more, now and then.
func (c *Compiler) forgetWorkloads() {
	if len(c.workloads) <= c.crowd {
		return
	}
	clear(c.workloads)
	remember := func(all []*exchange.Endpoint) {
		for _, ep := range all {
			if ep.Workload != nil {
				c.workloads[*ep.Workload] = ep.Workload
			}
		}
	}
	for _, e := range c.endpoints {
		remember(e.made.Endpoints)
	}
	for _, e := range c.clusters {
		remember(e.made.Endpoints)
	}
	c.crowd = 2*len(c.workloads) + 1000
}

// activate puts what was made in force once it is ready.
func (e *entry[T]) activate(ready bool) {
	if ready {
		e.active, e.live, e.inForce, e.before = e.made, true, e.needs, nil
	}
}

func (c *Compiler) hasEndpoints(name string) bool {
	if name == "" {
		return true
	}
	_, known := c.endpoints[name]
	return known || c.absent[wire.TypeEndpoints][name] || c.refused[wire.TypeEndpoints][name].why != ""
}

// clustersReady says whether none of the clusters is on its way. A cluster that nobody announced is not waited for: requests for it
// are answered with 503. On demand it is asked for, and the answer waited for.
func (c *Compiler) clustersReady(names map[string]bool) bool {
	for name := range names {
		e, known := c.clusters[name]
		if known && !e.live || !known && c.options.OnDemand && !c.absent[wire.TypeCluster][name] && c.refused[wire.TypeCluster][name].why == "" {
			return false
		}
	}
	return true
}

func (c *Compiler) routesReady(names map[string]bool, in *config.Config) bool {
	for name := range names {
		if in.Routes[name] == nil && !c.absent[wire.TypeRoute][name] && c.refused[wire.TypeRoute][name].why == "" {
			return false
		}
	}
	return true
}

// worse says whether what follows a version in force, nil: none, needs something more that there is not because it was refused: no endpoints for a cluster that
// traffic moves to, no cluster, no routes.
func (c *Compiler) worse(next, before *needs) bool {
	if before == nil || next == before {
		return false
	}
	if next.endpoints != before.endpoints && c.missesEndpoints(next.endpoints) {
		return true
	}
	for name := range next.clusters {
		if !before.clusters[name] && c.missesCluster(name) {
			return true
		}
	}
	for name := range next.routes {
		if !before.routes[name] && c.missesRoutes(name) {
			return true
		}
	}
	return false
}

// missesEndpoints says whether the endpoints of that name were refused, and there are none from before.
func (c *Compiler) missesEndpoints(name string) bool {
	return c.endpoints[name] == nil && c.refused[wire.TypeEndpoints][name].why != ""
}

func (c *Compiler) missesCluster(name string) bool {
	if e := c.clusters[name]; e != nil {
		return c.missesEndpoints(e.needs.endpoints)
	}
	return c.refused[wire.TypeCluster][name].why != ""
}

func (c *Compiler) missesRoutes(name string) bool {
	e := c.routes[name]
	if e == nil {
		return c.refused[wire.TypeRoute][name].why != ""
	}
	for cluster := range e.needs.clusters {
		if c.missesCluster(cluster) {
			return true
		}
	}
	return false
}

// Warming says whether a listener that was announced is not in force yet. Those that were asked for are their connections' affair.
func (c *Compiler) Warming() bool {
	asked := c.Wanted(wire.TypeListener)
	for name, e := range c.listeners {
		if _, found := slices.BinarySearch(asked, name); !e.live && !found {
			return true
		}
	}
	return false
}

func same(a, b *config.Config) bool {
	return slices.Equal(a.Listeners, b.Listeners) && maps.Equal(a.Clusters, b.Clusters) && maps.Equal(a.Endpoints, b.Endpoints) &&
		maps.Equal(a.Routes, b.Routes) && a.Names == b.Names && maps.Equal(a.Settled, b.Settled) && (a.Settled == nil) == (b.Settled == nil)
}
