package generate

import (
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// proxyless makes what programs with gRPC's xDS client ask for (gRFC A27): for each port of a service that EDS tells the endpoints of, a
// listener by each name that they may dial, host:port, and its routes.
func (b *builder) proxyless() {
	var short []listeners.Called
	for _, s := range b.services {
		if s.Resolution == model.ResolveAlias {
			continue
		}
		for i := range s.Ports {
			p := &s.Ports[i]
			speaks := p.Protocol.IsHTTP() || p.Protocol == model.Unknown
			if !speaks || !s.has(p.Number) || !(upstream.Cluster{Service: s.Service, Port: p.Number, Class: b.scope.Class}).Proxyless() {
				continue
			}
			name := naming.HostRoute(s.Host, p.Number)
			hosts := b.m.vhosts.Of([]*routes.VirtualHost{b.alone(s.Service, p.Number)})
			b.set.add(b.m.routes.Get(routes.Configuration{Name: name, Hosts: hosts}, routes.Make))
			b.set.add(b.m.called.Get(listeners.Called{Name: name, Routes: name}, listeners.MakeClient))
			short = append(short, b.shorter(s.Service, p.Number)...)
		}
	}
	for _, called := range short { // of two services of a name, the one that is called so is meant
		b.set.add(b.m.called.Get(called, listeners.MakeClient))
	}
}

// shorter are the names of a Service that the search path of the program's pod completes.
func (b *builder) shorter(svc *model.Service, port uint16) []listeners.Called {
	var out []listeners.Called
	if !svc.Entry {
		for _, host := range naming.Shorter(svc.Host, b.ix.mesh.ClusterDomain, svc.Namespace == b.scope.Namespace) {
			out = append(out, listeners.Called{Name: naming.HostRoute(host, port), Routes: naming.HostRoute(svc.Host, port)})
		}
	}
	return out
}
