package upstream

import (
	"cmp"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	forwardcluster "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	forward "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// namedCluster is Envoy's kind of cluster that looks names up as requests bring them.
const namedCluster = "envoy.clusters.dynamic_forward_proxy"

// named reports whether the cluster goes where the names of requests lead.
func (in Cluster) named() bool { return in.Service.Resolution == model.ResolveNamed && !in.refused() }

// Names is the memory of names that a foreign proxy's filters and clusters share.
func Names(mesh *model.Mesh, class naming.Class) *forward.DnsCacheConfig {
	return &forward.DnsCacheConfig{Name: "names", DnsLookupFamily: dnsFamily(class), DnsRefreshRate: message.Duration(cmp.Or(mesh.DNSRefresh, dnsRefresh))}
}

// byNames has the names of requests looked up.
func (in Cluster) byNames(c *cluster.Cluster) {
	c.LbPolicy, c.LbConfig = cluster.Cluster_CLUSTER_PROVIDED, nil
	c.ClusterDiscoveryType = &cluster.Cluster_ClusterType{ClusterType: &cluster.Cluster_CustomClusterType{
		Name: namedCluster, TypedConfig: message.Any(&forwardcluster.ClusterConfig{
			ClusterImplementationSpecifier: &forwardcluster.ClusterConfig_DnsCacheConfig{DnsCacheConfig: Names(in.Mesh, in.Class)},
			AllowInsecureClusterOptions:    !in.proves(),
		}),
	}}
}

// proves reports whether servers are called, and have to prove, the name that they were asked for by: unless the rule says what else.
func (in Cluster) proves() bool {
	rule := in.InForce().TLS
	switch {
	case rule == nil || rule.Mode == model.TLSDisable:
		return true
	case rule.Mode == model.TLSIstioMutual:
		return false
	}
	return rule.SNI == "" && len(rule.SANs) == 0 && len(in.Service.SANs) == 0 && !rule.InsecureSkipVerify
}

// NamedPort is the port that connections to names are made to: the service's own, or the target port that it says. Plain HTTP that is sent on in TLS
// goes where that is spoken.
func (in Cluster) NamedPort() uint16 {
	p := in.Service.Port(in.Port)
	if p != nil && p.Target != 0 && p.Target != p.Number {
		return p.Target
	}
	if rule := in.InForce().TLS; in.Port == 80 && rule != nil && (rule.Mode == model.TLSSimple || rule.Mode == model.TLSMutual) {
		return 443
	}
	return in.Port
}

// metadata is what the cluster is called, and what the proxy otherwise cannot know of where it leads.
func (in Cluster) metadata() *core.Metadata {
	out := ServiceMetadata(in.Service, in.ownAddress())
	if in.named() && !in.Class.Foreign {
		fields := out.FilterMetadata[wire.ClusterMetadata].Fields
		fields[wire.ServicePort] = structpb.NewStringValue(strconv.Itoa(int(in.NamedPort())))
		if in.Self != nil {
			fields[wire.ServiceSelf] = structpb.NewStringValue(strings.Join(in.Self.Slice(), ","))
		}
	}
	return out
}

// anyName is the cluster for the names of hosts that are in no registry.
func (in Fixed) anyName(c *cluster.Cluster) {
	all := Cluster{Mesh: in.Mesh, Class: in.Class, Policy: &model.TrafficPolicy{TLS: in.Mesh.AnyNameTLS},
		Service: &model.Service{Host: "*", External: true, Entry: true, Resolution: model.ResolveNamed}}
	c.Metadata = &core.Metadata{FilterMetadata: map[string]*structpb.Struct{
		wire.ClusterMetadata: message.Struct(map[string]string{wire.ServiceExternal: "true"}),
	}}
	c.CircuitBreakers = Breakers(model.ConnectionPool{})
	c.TypedExtensionProtocolOptions = HTTPOptions(all.protocols())
	all.byNames(c)
	all.secure(c)
}
