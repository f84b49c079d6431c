package generate

import (
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// proxyless makes what programs with gRPC's xDS client ask for (gRFC A27): for each port of a service that EDS tells the endpoints of, a
// listener by the name that they dial, host:port, and its routes.
func (b *builder) proxyless() {
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
			b.set.add(b.m.called.Get(name, listeners.MakeClient))
		}
	}
}
