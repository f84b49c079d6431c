package listeners

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Outbound is the inputs of an outbound listener of a sidecar.
type Outbound struct {
	Mesh         *model.Mesh
	Class        naming.Class
	RegistryOnly bool
	Bind         string // "": wildcard
	Port         uint16
	// Routes is the RDS name for plaintext HTTP; "": there is none.
	Routes string
	// Chains are opaque connections with a condition; Default is where all others go: empty means that the destination is not known.
	Chains  *intern.List[Chain]
	Default *intern.List[Weighted]
	Relay   Relay // of Default
	// Traced is what spans call the client, where there are any.
	Traced string
	// Sniff looks for TLS where no chain asks for it.
	Sniff bool
}

// Chain is a condition on a connection and where it then goes.
type Chain struct {
	Names   *intern.List[string] // SNI
	Subnets *intern.List[string] // destination CIDRs
	Targets *intern.List[Weighted]
	Relay   Relay
}

// Unknown is the cluster for destinations that nobody declared.
func Unknown(registryOnly bool) string {
	if registryOnly {
		return wire.ClusterBlackHole
	}
	return wire.ClusterPassthrough
}

// MakeVirtualOutbound is where captured connections arrive.
func MakeVirtualOutbound(mesh *model.Mesh, class naming.Class, registryOnly, onDemand bool) *wire.Resource {
	l := &listener.Listener{
		Name: wire.ListenerVirtualOutbound, UseOriginalDst: message.True(), TrafficDirection: core.TrafficDirection_OUTBOUND,
		AccessLog: accessLog(mesh.AccessLog),
		FilterChains: []*listener.FilterChain{
			chain("virtualOutbound-blackhole", portMatch(wire.PortOutbound), nil, toCluster(mesh, wire.ClusterBlackHole)),
		},
		DefaultFilterChain: chain("virtualOutbound-catchall-tcp", nil, nil, toCluster(mesh, Unknown(registryOnly))),
	}
	if onDemand {
		l.Metadata = &core.Metadata{FilterMetadata: map[string]*structpb.Struct{
			wire.OnDemandMetadata: message.Struct(map[string]string{wire.OnDemandListeners: "true"}),
		}}
	}
	bindTo(l, class, "", wire.PortOutbound)
	return message.Resource(wire.TypeListener, l.Name, l)
}

func toCluster(mesh *model.Mesh, name string) *listener.Filter {
	return tcpFilter(mesh, name, []Weighted{{Cluster: name}}, Relay{})
}

// MakeOutbound serves the connections to one port, or to one address's port.
func MakeOutbound(in Outbound) *wire.Resource {
	l := &listener.Listener{
		Name: in.Class.ListenerName(in.Bind, in.Port), TrafficDirection: core.TrafficDirection_OUTBOUND,
		BindToPort: wrapperspb.Bool(false), ContinueOnListenerFiltersTimeout: true, ListenerFiltersTimeout: message.Duration(0),
	}
	bindTo(l, in.Class, in.Bind, in.Port)
	for c := range in.Chains.All {
		l.FilterChains = append(l.FilterChains, in.opaque(c))
		in.Sniff = in.Sniff || c.Names != nil
	}
	if in.Sniff {
		l.ListenerFilters = append(l.ListenerFilters, inspectTLS())
	}
	if in.Routes != "" {
		l.ListenerFilters = append(l.ListenerFilters, inspectHTTP())
		match := &listener.FilterChainMatch{TransportProtocol: transportRaw, ApplicationProtocols: plainHTTP()}
		prefix := "outbound_" + in.Class.ListenerName(in.Bind, in.Port)
		l.FilterChains = append(l.FilterChains, chain("", match, nil, httpManager(manager{mesh: in.Mesh, prefix: prefix, routes: in.Routes, traced: in.Traced})))
	}
	l.DefaultFilterChain = in.otherwise()
	return message.Resource(wire.TypeListener, l.Name, l)
}

// otherwise is the chain for connections that match no other.
func (in Outbound) otherwise() *listener.FilterChain {
	if in.Default != nil {
		targets := in.Default.Slice()
		return chain("", nil, nil, tcpFilter(in.Mesh, targets[0].Cluster, targets, in.Relay))
	}
	return chain("PassthroughFilterChain", nil, nil, toCluster(in.Mesh, Unknown(in.RegistryOnly)))
}

func (in Outbound) opaque(c Chain) *listener.FilterChain {
	match := &listener.FilterChainMatch{ServerNames: c.Names.Slice()}
	for subnet := range c.Subnets.All {
		match.PrefixRanges = append(match.PrefixRanges, message.CIDR(subnet))
	}
	targets := c.Targets.Slice()
	return chain("", match, nil, tcpFilter(in.Mesh, targets[0].Cluster, targets, c.Relay))
}
