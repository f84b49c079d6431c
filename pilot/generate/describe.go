package generate

import (
	"fmt"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// String tells people what about a proxy decides its configuration.
func (s Scope) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	role := "sidecar"
	if s.Outbound.Class.Router {
		role = "gateway"
	}
	line("%s in namespace %s", role, s.Outbound.Namespace)
	if s.Outbound.Class.Names {
		line("it answers its pod's DNS questions")
	}
	if s.Outbound.OnDemand {
		line("it asks for what it uses")
	}
	if s.Outbound.Sidecar != nil {
		line("Sidecar %s limits what it sees", s.Outbound.Sidecar.From)
	}
	if from := s.From; from.Locality != (model.Locality{}) {
		line("it prefers endpoints by where it is: %s/%s/%s", from.Locality.Region, from.Locality.Zone, from.Locality.Subzone)
	}
	if role == "gateway" && s.Edge.Topology != s.Edge.Mesh.Topology {
		line("what stands before it is what its pod says: %+v", s.Edge.Topology)
	}
	for r := range s.Outbound.Rules.All {
		line("DestinationRule for %s selects it", r.Host)
	}
	for source := range s.Outbound.Sources.All {
		line("routes for sources with %s apply", source)
	}
	for p := range s.Inbound.Ports.All {
		service := "no Service"
		if p.Service != nil {
			service = "Service " + p.Service.From.String()
		}
		line("port %d: %s, %s", p.Port, modeText(p.Mode), service)
	}
	policies := s.Inbound.Policies
	if s.Outbound.Class.Router {
		policies = s.Edge.Policies
	} else {
		line("other ports: %s", modeText(s.Inbound.Mode))
	}
	for server := range s.Edge.Servers.All {
		line("Gateway %s: port %d, listens on %d", server.Gateway.ID(), server.Server.Port, server.Port)
	}
	for p := range policies.All {
		line("AuthorizationPolicy %s (%s)", p.From, [...]string{"ALLOW", "DENY"}[p.Action])
	}
	return b.String()
}

func modeText(m model.MTLSMode) string {
	return [...]string{"UNSET", "DISABLE", "PERMISSIVE", "STRICT"}[m]
}
