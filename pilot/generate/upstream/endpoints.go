package upstream

import (
	"cmp"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/peers"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// EndpointView is how one cluster looks at the endpoints of a service port. It is comparable.
type EndpointView struct {
	Key    model.EndpointKey
	Subset *model.Subset // nil: all
	// HealthyOnly leaves out endpoints that are not ready: the cluster's panic threshold would use them.
	HealthyOnly bool
	// Through leaves out endpoints that do not take mesh mTLS: the proxy does not look into what it carries on, and it must not be anything else.
	Through bool
	Foreign bool
	// Proxyless leaves out Unix domain sockets, which gRPC's xDS client does not know.
	Proxyless bool
	// Peers switches mesh mTLS off for endpoints whose PeerAuthentication says DISABLE. Nil: none does.
	Peers *peers.Rules
	// Preference orders the endpoints, and shares traffic out, by where each client is.
	Preference Preference
	near       Near
}

// From is how one client of the cluster looks at the endpoints.
func (v EndpointView) From(where Vantage) EndpointView {
	v.near, v.Preference = v.Preference.From(where), Preference{}
	return v
}

// Endpoints returns the assignment of a cluster: set, which may be nil for a service without endpoints, as view sees it.
func Endpoints(name string, set *model.EndpointSet, view EndpointView) *wire.Resource {
	if set == nil {
		set = &model.EndpointSet{}
	}
	return message.Resource(wire.TypeEndpoints, name, assignment(name, set, view))
}

// place is what the endpoints of a group have in common.
type place struct {
	locality model.Locality
	rank     uint32
}

// assignment groups the endpoints that the view shows by locality and rank.
func assignment(name string, set *model.EndpointSet, view EndpointView) *endpoint.ClusterLoadAssignment {
	groups := map[place]*endpoint.LocalityLbEndpoints{}
	var order []place
	for _, e := range set.Endpoints {
		if view.Subset != nil && !view.Subset.Labels.Matches(e.Labels) || view.HealthyOnly && e.Health != model.Healthy {
			continue
		}
		if view.Through && !view.meshed(e) || view.Proxyless && strings.HasPrefix(e.Address, model.SocketScheme) {
			continue
		}
		at := place{e.Locality, view.near.rank(e)}
		group := groups[at]
		if group == nil {
			group = &endpoint.LocalityLbEndpoints{Locality: locality(e.Locality), Priority: at.rank}
			groups[at] = group
			order = append(order, at)
		}
		lb := lbEndpoint(e, view)
		group.LbEndpoints = append(group.LbEndpoints, lb)
		group.LoadBalancingWeight = message.U32(group.GetLoadBalancingWeight().GetValue() + lb.LoadBalancingWeight.GetValue())
	}
	slices.SortFunc(order, place.compare)
	out := &endpoint.ClusterLoadAssignment{ClusterName: name}
	for _, at := range order {
		out.Endpoints = append(out.Endpoints, groups[at])
	}
	out.Endpoints = view.near.shareOut(out.Endpoints)
	inOrder(out.Endpoints)
	return out
}

func locality(l model.Locality) *core.Locality {
	return &core.Locality{Region: l.Region, Zone: l.Zone, SubZone: l.Subzone}
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.rank, o.rank), cmp.Compare(p.locality.Region, o.locality.Region),
		cmp.Compare(p.locality.Zone, o.locality.Zone), cmp.Compare(p.locality.Subzone, o.locality.Subzone))
}

func lbEndpoint(e *model.Endpoint, view EndpointView) *endpoint.LbEndpoint {
	return &endpoint.LbEndpoint{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: message.Address(e.Address, e.Port)}},
		HealthStatus:   health(e.Health), LoadBalancingWeight: message.U32(max(e.Weight, 1)),
		Metadata: endpointMetadata(e, view),
	}
}

func health(h model.Health) core.HealthStatus {
	switch h {
	case model.Unhealthy:
		return core.HealthStatus_UNHEALTHY
	case model.Draining:
		return core.HealthStatus_DRAINING
	}
	return core.HealthStatus_HEALTHY
}

// meshed reports whether an endpoint takes mesh mTLS.
func (v EndpointView) meshed(e *model.Endpoint) bool {
	return e.MeshTLS && (v.Peers == nil || v.Peers.Mode(e.Workload.Namespace, e.Labels, e.Port) != model.MTLSDisable)
}

// endpointMetadata carries the endpoint's facts, and whether it takes mesh mTLS.
func endpointMetadata(e *model.Endpoint, view EndpointView) *core.Metadata {
	out := map[string]*structpb.Struct{}
	if view.meshed(e) {
		out[wire.TLSModeMatch] = message.Struct(map[string]string{wire.TLSModeKey: wire.TLSModeMesh})
	}
	if facts := Facts(e.Identity.String(), e.Workload); len(facts.Fields) > 0 && !view.Foreign {
		out[wire.EndpointMetadata] = facts
	}
	if len(out) == 0 {
		return nil
	}
	return &core.Metadata{FilterMetadata: out}
}

// Facts are what telemetry knows of a workload.
func Facts(identity string, f model.Facts) *structpb.Struct {
	return message.Struct(map[string]string{
		wire.FactIdentity: identity, wire.FactWorkload: f.Workload, wire.FactNamespace: f.Namespace, wire.FactPod: f.Pod,
		wire.FactCanonicalName: f.CanonicalName, wire.FactCanonicalRevision: f.CanonicalRevision,
		wire.FactApp: f.App, wire.FactVersion: f.Version, wire.FactCluster: f.Cluster,
	})
}
