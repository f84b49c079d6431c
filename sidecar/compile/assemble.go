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
// table for its clusters, a listener for its routes. What the control plane does not have, or what of its first version was refused, is not waited for.
func (c *Compiler) Config() *config.Config {
	next := &config.Config{Clusters: map[string]*upstream.Config{}, Endpoints: map[string]*upstream.Assignment{}, Routes: map[string]*route.Table{}}
	for name, e := range c.endpoints {
		next.Endpoints[name] = e.made
	}
	for name, e := range c.clusters {
		e.activate(c.hasEndpoints(e.needs.endpoints))
		if e.live {
			next.Clusters[name] = e.active
		}
	}
	for name, e := range c.routes {
		e.activate(c.clustersReady(e.needs.clusters))
		if e.live {
			next.Routes[name] = e.active
		}
	}
	c.complete(next.Routes)
	for _, name := range slices.Sorted(maps.Keys(c.listeners)) {
		e := c.listeners[name]
		e.activate(c.clustersReady(e.needs.clusters) && c.routesReady(e.needs.routes, next))
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
		e.active, e.live, e.inForce = e.made, true, e.needs
	}
}

func (c *Compiler) hasEndpoints(name string) bool {
	if name == "" {
		return true
	}
	_, known := c.endpoints[name]
	return known || c.absent[wire.TypeEndpoints][name] || c.refused[wire.TypeEndpoints][name] != ""
}

// clustersReady says whether none of the clusters is on its way. A cluster that nobody announced is not waited for: requests for it
// are answered with 503. On demand it is asked for, and the answer waited for.
func (c *Compiler) clustersReady(names map[string]bool) bool {
	for name := range names {
		e, known := c.clusters[name]
		if known && !e.live || !known && c.options.OnDemand && !c.absent[wire.TypeCluster][name] && c.refused[wire.TypeCluster][name] == "" {
			return false
		}
	}
	return true
}

func (c *Compiler) routesReady(names map[string]bool, in *config.Config) bool {
	for name := range names {
		if in.Routes[name] == nil && !c.absent[wire.TypeRoute][name] && c.refused[wire.TypeRoute][name] == "" {
			return false
		}
	}
	return true
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
