package compile

import (
	"fmt"
	"net/netip"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// endpoints reads an assignment; named says that addresses may be host names.
func (b *builder) endpoints(in *endpoint.ClusterLoadAssignment, named bool) ([]*exchange.Endpoint, error) {
	var out []*exchange.Endpoint
	for i, group := range in.GetEndpoints() {
		for j, e := range group.GetLbEndpoints() {
			made, err := b.endpoint(group, e, named)
			if err != nil {
				return nil, values.Under(fmt.Sprintf("endpoints[%d].lb_endpoints[%d]", i, j), err)
			}
			out = append(out, made)
		}
	}
	return out, nil
}

func (b *builder) endpoint(group *endpoint.LocalityLbEndpoints, in *endpoint.LbEndpoint, named bool) (*exchange.Endpoint, error) {
	out := &exchange.Endpoint{
		Host: in.GetEndpoint().GetHostname(), Weight: max(values.Number(in.GetLoadBalancingWeight(), 1), 1), Priority: group.GetPriority(),
		Locality:       exchange.Locality{Region: group.GetLocality().GetRegion(), Zone: group.GetLocality().GetZone(), SubZone: group.GetLocality().GetSubZone()},
		LocalityWeight: group.GetLoadBalancingWeight().GetValue(),
		Unhealthy:      in.GetHealthStatus() == core.HealthStatus_UNHEALTHY || in.GetHealthStatus() == core.HealthStatus_TIMEOUT,
		Draining:       in.GetHealthStatus() == core.HealthStatus_DRAINING,
	}
	socket := in.GetEndpoint().GetAddress().GetSocketAddress()
	if _, err := netip.ParseAddr(socket.GetAddress()); err != nil && named && socket.GetAddress() != "" {
		port, err := values.Port("endpoint.address", socket)
		if err != nil {
			return nil, err
		}
		out.Host, out.Address = socket.GetAddress(), netip.AddrPortFrom(netip.Addr{}, port)
	} else if pipe := in.GetEndpoint().GetAddress().GetPipe(); pipe != nil {
		if out.Path = pipe.GetPath(); len(out.Path) < 2 || out.Path[0] != '/' && out.Path[0] != '@' {
			return nil, values.Wrong("endpoint.address.pipe.path", "%q: an absolute path, or @ and a name, expected", out.Path)
		}
	} else {
		if out.Address, err = values.Address("endpoint.address", in.GetEndpoint().GetAddress()); err != nil {
			return nil, err
		}
	}
	metadata := in.GetMetadata().GetFilterMetadata()
	out.Metadata = values.Texts(metadata[wire.TLSModeMatch])
	out.TLSMode = out.Metadata[wire.TLSModeKey]
	facts := values.Texts(metadata[wire.EndpointMetadata])
	if facts == nil {
		facts = theirFacts(metadata[theirMetadata])
	}
	out.Identity = facts[wire.FactIdentity]
	out.Workload = b.workload(facts)
	return out, nil
}

// workload names who runs at an endpoint. Equal names have one pointer, for which telemetry keeps its labels.
func (b *builder) workload(facts map[string]string) *exchange.Workload {
	if len(facts) == 0 {
		return nil
	}
	w := exchange.Workload{
		Name: facts[wire.FactWorkload], Namespace: facts[wire.FactNamespace], App: facts[wire.FactApp], Version: facts[wire.FactVersion],
		CanonicalName: facts[wire.FactCanonicalName], CanonicalRevision: facts[wire.FactCanonicalRevision], Cluster: facts[wire.FactCluster],
	}
	if id, err := spiffe.Parse(facts[wire.FactIdentity]); err == nil {
		w.ServiceAccount = id.ServiceAccount
	}
	if known, ok := b.workloads[w]; ok {
		return known
	}
	b.workloads[w] = &w
	return &w
}
