package generate

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// named adds the chains of a server that carries mesh mTLS on to the services that its SNI spells: to those of its hosts that are exported to the
// gateway's namespace, and have endpoints in the mesh.
func (b *edgeBuilder) named(plan *edgePlan, s BoundServer) {
	for _, svc := range b.services {
		if !reachable(svc.Service) || !serves(s.Server, svc.Service) {
			continue
		}
		for i := range svc.Ports {
			if p := &svc.Ports[i]; p.Protocol != model.UDP && svc.has(p.Number) {
				b.namedPort(plan, svc.Service, p.Number)
			}
		}
	}
}

// serves reports whether a server's hosts cover a service of a namespace that may attach.
func serves(s *model.Server, svc *model.Service) bool {
	return slices.ContainsFunc(s.Hosts, func(h model.GatewayHost) bool {
		return (h.Namespace == "*" || h.Namespace == svc.Namespace) && naming.Covers(h.Host, svc.Host)
	})
}

// namedPort adds the chains of a service's port: for all of it, and for each subset.
func (b *edgeBuilder) namedPort(plan *edgePlan, svc *model.Service, port uint16) {
	for _, subset := range everySubset(b.routable[svc]) {
		name := ""
		if subset != nil {
			name = subset.Name
		}
		cluster := naming.ServerName(svc.Host, name, port)
		sni, ok := plan.claim([]string{cluster})
		if !ok {
			continue
		}
		relay := listeners.RelayOf(b.policy(svc, name, port))
		relay.Tunnel = model.Tunnel{} // it is for the gateway's own routes: what passes through is TLS of others
		plan.chains = append(plan.chains, listeners.GatewayChain{
			Names: b.m.strings.Of(sni), Targets: b.m.weighted.Of([]listeners.Weighted{{Cluster: cluster, Weight: 1}}),
			Relay: relay, Sniff: true, Through: true,
		})
	}
}
