package generate

import (
	"slices"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// listener makes a listener, and notes for proxies on demand where it leads.
func (p *outboundPlan) listener(in listeners.Outbound) {
	r := p.m.listeners.Get(in, listeners.MakeOutbound)
	p.set.add(r)
	if !p.scope.OnDemand {
		return
	}
	at := leads{table: in.Routes}
	add := func(l *intern.List[listeners.Weighted]) {
		for w := range l.All {
			at.clusters = append(at.clusters, w.Cluster)
		}
	}
	add(in.Default)
	for c := range in.Chains.All {
		add(c.Targets)
	}
	p.set.leads[r.Name] = at
}

// unasked are what a proxy on demand is told without asking.
func unasked() map[string]map[string]bool {
	return map[string]map[string]bool{
		wire.TypeCluster:     {wire.ClusterBlackHole: true, wire.ClusterPassthrough: true, wire.ClusterAnyName: true},
		wire.TypeListener:    {wire.ListenerVirtualOutbound: true},
		wire.TypeVirtualHost: {},
	}
}

// table makes the routes of a port, with all of its hosts, or with a proxy on demand those that it has to know before it asks.
func (p *outboundPlan) table(in routes.Configuration) {
	if !p.scope.OnDemand {
		p.set.add(p.m.routes.Get(in, routes.Make))
		return
	}
	t := p.m.onDemand.Get(in, routes.MakeOnDemand)
	p.set.tables[in.Name] = t
	p.set.add(t.Configuration)
}

// give has a proxy on demand told of a service's port without asking where its Sidecar names the service. What does not exist under these
// names is not told.
func (p *outboundPlan) give(svc *model.Service, port *model.ServicePort) {
	if !p.scope.OnDemand || !p.scope.Sidecar.Names(p.scope.Namespace, svc.Namespace, svc.Host) {
		return
	}
	p.set.unasked[wire.TypeVirtualHost][naming.Port(port.Number)+"/"+svc.Host] = true
	addresses, _ := p.addresses(svc, port.Number)
	for _, a := range append(slices.Clip(addresses), "") {
		p.set.unasked[wire.TypeListener][p.scope.Class.ListenerName(a, port.Number)] = true
	}
}
