// Package upstream says how to reach others: clusters, the security of connections to them, and their endpoints. It does not decide which
// clusters a proxy has.
package upstream

import (
	"cmp"
	"math"
	"net"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Cluster is the inputs of an outbound cluster.
type Cluster struct {
	Mesh    *model.Mesh
	Service *model.Service
	Port    uint16
	Subset  *model.Subset        // nil: the whole service
	Policy  *model.TrafficPolicy // nil: all defaults
	Class   naming.Class
	// OwnSecret is whether the proxy may use the Secret that the rule behind Policy names.
	OwnSecret bool
	// Through carries the client's own mesh mTLS on, to endpoints that take it. The cluster's name is the SNI that asks for it.
	Through bool
	// Self are addresses of the proxy's own that names may not lead to.
	Self *intern.List[string]
	// Near orders endpoints that the cluster lists itself; those that travel over EDS are ordered by their view.
	Near Near
	// Identities are the union of the endpoints' identities, for foreign proxies only.
	Identities *intern.List[string]
	// Meshed is whether all endpoints take mesh mTLS, for foreign proxies only: where these dial the client's choice, they cannot tell one from another.
	Meshed bool
}

func (in Cluster) subset() string {
	if in.Subset == nil {
		return ""
	}
	return in.Subset.Name
}

// Name is what routes call the cluster.
func (in Cluster) Name() string {
	if in.Through {
		return naming.ServerName(in.Service.Host, in.subset(), in.Port)
	}
	return naming.Cluster(in.Service.Host, in.subset(), in.Port)
}

// InForce is the policy, or the mesh's, or all defaults.
func (in Cluster) InForce() *model.TrafficPolicy {
	switch {
	case in.Policy != nil:
		return in.Policy
	case in.Mesh != nil && in.Mesh.Baseline != nil:
		return in.Mesh.Baseline
	}
	return &model.TrafficPolicy{}
}

func (in Cluster) protocol() model.Protocol {
	if p := in.Service.Port(in.Port); p != nil {
		return p.Protocol
	}
	return model.Unknown
}

// Make says how to reach a service port.
func Make(in Cluster) *wire.Resource {
	if in.Class.Proxyless {
		return makeProxyless(in)
	}
	c := &cluster.Cluster{
		Name:           in.Name(),
		ConnectTimeout: message.Duration(connectTimeout(in.Mesh, in.InForce())),
		Metadata:       in.metadata(),
		CommonLbConfig: &cluster.Cluster_CommonLbConfig{},
	}
	if policy := in.locality(); policy != nil && len(policy.Distribute) > 0 {
		c.CommonLbConfig.LocalityConfigSpecifier = &cluster.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
			LocalityWeightedLbConfig: &cluster.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
		}
	}
	if in.Service.Session != nil {
		c.CommonLbConfig.OverrideHostStatus = &core.HealthStatusSet{Statuses: []core.HealthStatus{
			core.HealthStatus_UNKNOWN, core.HealthStatus_HEALTHY, core.HealthStatus_DRAINING, core.HealthStatus_DEGRADED}}
	}
	in.discover(c)
	applyBalancer(c, in.InForce().LoadBalancer)
	applyPool(c, in.InForce().ConnectionPool, in.Mesh.Keepalive)
	c.TypedExtensionProtocolOptions = HTTPOptions(in.protocols())
	if in.named() {
		in.byNames(c)
	}
	applyOutlier(c, in.InForce().Outlier)
	if !in.Through {
		in.secure(c)
		tellClient(c, in.InForce().ProxyProtocol)
	}
	return message.Resource(wire.TypeCluster, c.Name, c)
}

func connectTimeout(mesh *model.Mesh, policy *model.TrafficPolicy) model.Duration {
	if t := policy.ConnectionPool.ConnectTimeout; t != 0 {
		return t
	}
	return mesh.ConnectTimeout
}

// originalDestination reports whether the cluster dials the address that the client chose.
func (in Cluster) originalDestination() bool {
	if in.Through || in.named() || in.refused() { // the client chose the gateway's address, or any
		return false
	}
	if in.InForce().LoadBalancer.Algorithm == model.Passthrough || in.Service.Resolution == model.ResolvePassthrough {
		return true
	}
	return in.Service.Resolution == model.ResolveHeadless && !in.Class.Router && !in.Class.Proxyless
}

// portOverride is the target port of a ServiceEntry that resolves nothing: the address that the client chose is dialled there. 0: at the client's port.
func (in Cluster) portOverride() uint16 {
	p := in.Service.Port(in.Port)
	if p == nil || in.Service.Resolution != model.ResolvePassthrough || in.Class.Router { // a gateway's address is its own
		return 0
	}
	return p.Target
}

// discover says where the endpoints are.
func (in Cluster) discover(c *cluster.Cluster) {
	switch {
	case in.refused():
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC} // without endpoints
	case in.named(): // see byNames
	case in.originalDestination():
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_ORIGINAL_DST}
		if port := in.portOverride(); port != 0 {
			c.LbConfig = &cluster.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: &cluster.Cluster_OriginalDstLbConfig{UpstreamPortOverride: message.U32(uint32(port))}}
		}
		if in.knowsEndpoints() {
			c.EdsClusterConfig = eds(c.Name)
		}
	case in.Resolves():
		in.resolve(c)
	default:
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_EDS}
		c.EdsClusterConfig = eds(c.Name)
	}
}

// Resolves reports whether the proxy looks the cluster's endpoints up by name.
func (in Cluster) Resolves() bool {
	return !in.originalDestination() && !in.refused() && (in.Service.Resolution == model.ResolveDNS || in.Service.Resolution == model.ResolveDNSRoundRobin)
}

// knowsEndpoints reports whether a cluster that dials the client's choice also gets the service's endpoints, so that the proxy
// learns the facts of the address dialled. A stock Envoy cannot.
func (in Cluster) knowsEndpoints() bool {
	known := in.Service.Resolution == model.ResolveHeadless || in.Service.Resolution == model.ResolveEndpoints
	return known && !in.Class.Foreign
}

// WantsEndpoints reports whether the cluster's endpoints travel over EDS.
func (in Cluster) WantsEndpoints() bool {
	if in.refused() {
		return false
	}
	switch in.Service.Resolution {
	case model.ResolveEndpoints, model.ResolveHeadless:
		return !in.originalDestination() || in.knowsEndpoints()
	}
	return false
}

func eds(name string) *cluster.Cluster_EdsClusterConfig {
	return &cluster.Cluster_EdsClusterConfig{ServiceName: name, EdsConfig: message.ADS()}
}

// resolve lists host names for the proxy to look up.
func (in Cluster) resolve(c *cluster.Cluster) {
	//lint:ignore SA1019 what replaces it is an extension of its own, which no dialect of ours knows
	c.DnsRefreshRate = message.Duration(cmp.Or(in.Mesh.DNSRefresh, dnsRefresh))
	//lint:ignore SA1019 likewise
	c.RespectDnsTtl = true
	c.DnsLookupFamily = dnsFamily(in.Class)
	endpoints := in.Service.DNSEndpoints[in.Port]
	if len(in.Service.DNSEndpoints) == 0 && !strings.HasPrefix(in.Service.Host, "*") {
		endpoints = []*model.Endpoint{in.itself()}
	}
	set := &model.EndpointSet{}
	for _, e := range endpoints {
		if in.Subset != nil && !in.Subset.Labels.Matches(e.Labels) {
			continue
		}
		set.Endpoints = append(set.Endpoints, e)
	}
	kind := cluster.Cluster_STRICT_DNS
	if in.Service.Resolution == model.ResolveDNSRoundRobin && len(set.Endpoints) > 0 { // LOGICAL_DNS has exactly one
		kind = cluster.Cluster_LOGICAL_DNS
	}
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: kind}
	c.LoadAssignment = assignment(c.Name, set, EndpointView{Foreign: in.Class.Foreign, Through: in.Through, near: in.Near})
}

// itself is a service that is looked up by its own name.
func (in Cluster) itself() *model.Endpoint {
	e := &model.Endpoint{Address: in.Service.Host, Port: in.Port}
	if p := in.Service.Port(in.Port); p != nil && p.Target != 0 {
		e.Port = p.Target
	}
	return e
}

func dnsFamily(class naming.Class) cluster.Cluster_DnsLookupFamily {
	switch {
	case class.IPv4 && class.IPv6:
		return cluster.Cluster_ALL
	case class.IPv6:
		return cluster.Cluster_V6_ONLY
	}
	return cluster.Cluster_V4_ONLY
}

// ownAddress is ip:port where the cluster's nodes balance over the whole service themselves; "" where they do not.
func (in Cluster) ownAddress() string {
	if in.Class.Foreign || in.Through || in.refused() || in.Subset != nil || in.Service.Entry || in.Service.External || in.Service.Resolution != model.ResolveEndpoints ||
		in.originalDestination() || len(in.Service.Addresses) == 0 {
		return ""
	}
	return net.JoinHostPort(in.Service.Addresses[0], naming.Port(in.Port))
}

// ServiceMetadata is what telemetry calls the destination, and the service's own address ("" for none).
func ServiceMetadata(svc *model.Service, address string) *core.Metadata {
	fields := map[string]string{
		wire.ServiceHost: svc.Host, wire.ServiceName: svc.Name, wire.ServiceNamespace: svc.Namespace, wire.ServiceAddress: address,
	}
	if svc.External {
		fields[wire.ServiceExternal] = "true"
	}
	return &core.Metadata{FilterMetadata: map[string]*structpb.Struct{wire.ClusterMetadata: message.Struct(fields)}}
}

// Fixed is the inputs of the clusters that every proxy of a class has.
type Fixed struct {
	Mesh  *model.Mesh
	Class naming.Class
	Name  string
}

// MakeFixed is a cluster that does not stand for a service.
func MakeFixed(in Fixed) *wire.Resource {
	c := &cluster.Cluster{Name: in.Name, ConnectTimeout: message.Duration(in.Mesh.ConnectTimeout)}
	switch in.Name {
	case wire.ClusterBlackHole:
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
	case wire.ClusterInboundPassthrough:
		Deliver(c, in.Class)
	default:
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_ORIGINAL_DST}
		c.LbPolicy = cluster.Cluster_CLUSTER_PROVIDED
	}
	if in.Name == wire.ClusterAnyName {
		in.anyName(c)
		return message.Resource(wire.TypeCluster, c.Name, c)
	}
	if in.Name == wire.ClusterPassthrough {
		c.Metadata = &core.Metadata{FilterMetadata: map[string]*structpb.Struct{
			wire.ClusterMetadata: message.Struct(map[string]string{wire.ServiceExternal: "true"}), // nothing is known of who is there
		}}
	}
	if in.Name != wire.ClusterBlackHole {
		c.CircuitBreakers = Breakers(model.ConnectionPool{})
		c.TypedExtensionProtocolOptions = HTTPOptions(ProtocolOptions{Downstream: true})
	}
	return message.Resource(wire.TypeCluster, c.Name, c)
}

// Deliver makes c dial the application at the address that the client chose.
func Deliver(c *cluster.Cluster, class naming.Class) {
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_ORIGINAL_DST}
	c.LbPolicy = cluster.Cluster_CLUSTER_PROVIDED
	c.UpstreamBindConfig = bindSource(class)
}

// bindSource makes a cluster connect from the address that the capture rules let pass.
func bindSource(class naming.Class) *core.BindConfig {
	address := func(ip string) *core.SocketAddress {
		return &core.SocketAddress{Address: ip, PortSpecifier: &core.SocketAddress_PortValue{}}
	}
	out := &core.BindConfig{SourceAddress: address(class.SourceAddress())}
	if class.IPv4 && class.IPv6 {
		out.ExtraSourceAddresses = []*core.ExtraSourceAddress{{Address: address(wire.InboundSourceV6)}}
	}
	return out
}

// Breakers are the limits of a pool; zero is no limit.
func Breakers(pool model.ConnectionPool) *cluster.CircuitBreakers {
	limit := func(n uint32) *wrapperspb.UInt32Value {
		if n == 0 {
			n = math.MaxUint32
		}
		return message.U32(n)
	}
	t := &cluster.CircuitBreakers_Thresholds{
		MaxConnections: limit(pool.MaxConnections), MaxPendingRequests: limit(pool.MaxPendingRequests),
		MaxRequests: limit(pool.MaxRequests), MaxRetries: limit(pool.MaxRetries), TrackRemaining: true,
	}
	applyRetryBudget(t, pool)
	return &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{t}}
}

// OneEndpoint is an assignment with a single address.
func OneEndpoint(name, address string, port uint16) *endpoint.ClusterLoadAssignment {
	return assignment(name, &model.EndpointSet{Endpoints: []*model.Endpoint{{Address: address, Port: port}}}, EndpointView{Foreign: true})
}
