package listeners

import (
	"maps"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	forward "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Outbound is the inputs of an outbound listener of a sidecar.
type Outbound struct {
	Mesh         *model.Mesh
	Class        naming.Class
	RegistryOnly bool
	EgressProxy  string // the cluster for destinations that nobody declared; "": what RegistryOnly says
	AnyName      bool   // names of unknown hosts are looked up
	Names        bool   // some clusters go by names, and the proxy is foreign
	Reports      *observe.Reports
	Bind         string // "": wildcard
	Port         uint16
	// Direct is whether the proxy listens at Bind itself, for clients that connect to it; Also is another address of such a listener, or "".
	Direct bool
	Also   string
	// Only is whether nothing else than HTTP is spoken there, so that no first bytes are waited for.
	Only bool
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

// UnknownHost is the cluster for requests to hosts that nobody declared.
func (in Outbound) UnknownHost() string {
	if in.AnyName {
		return wire.ClusterAnyName
	}
	return in.unknown()
}

// unknown is the cluster for destinations that nobody declared.
func (in Outbound) unknown() string {
	if in.EgressProxy != "" {
		return in.EgressProxy
	}
	return Unknown(in.RegistryOnly)
}

// Name is the listener's.
func (in Outbound) Name() string { return in.Class.ListenerName(in.Bind, in.Port) }

// names are remembered by foreign proxies; nil: there are none.
func (in Outbound) names() *forward.DnsCacheConfig {
	if !in.Names {
		return nil
	}
	return upstream.Names(in.Mesh, in.Class)
}

// Unknown is the cluster for destinations that nobody declared.
func Unknown(registryOnly bool) string {
	if registryOnly {
		return wire.ClusterBlackHole
	}
	return wire.ClusterPassthrough
}

// MakeVirtualOutbound is where captured connections arrive.
func MakeVirtualOutbound(in Outbound, onDemand bool) *wire.Resource {
	l := &listener.Listener{
		Name: wire.ListenerVirtualOutbound, UseOriginalDst: message.True(), TrafficDirection: core.TrafficDirection_OUTBOUND,
		AccessLog: listenerLog(in.Mesh, in.Reports.Client), Metadata: in.metadata(),
		FilterChains: []*listener.FilterChain{
			chain("virtualOutbound-blackhole", portMatch(wire.PortOutbound), nil, toCluster(in.Reports.Client, wire.ClusterBlackHole)),
		},
		DefaultFilterChain: chain("virtualOutbound-catchall-tcp", nil, nil, toCluster(in.Reports.Client, in.unknown())),
	}
	if in.Routes != "" {
		l.ListenerFilters, l.ContinueOnListenerFiltersTimeout = []*listener.ListenerFilter{inspectHTTP()}, true
		l.ListenerFiltersTimeout = message.Duration(in.Mesh.DetectionTimeout)
		l.FilterChains = append(l.FilterChains, in.plain("virtualOutbound-catchall-http", "outbound_unknown"))
	}
	if onDemand {
		l.Metadata = demanding(l.Metadata)
	}
	bindTo(l, in.Class, "", wire.PortOutbound)
	return message.Resource(wire.TypeListener, l.Name, l)
}

// demanding adds to metadata, which may be nil, that listeners are asked for when a connection first wants one.
func demanding(in *core.Metadata) *core.Metadata {
	out := &core.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
	maps.Copy(out.FilterMetadata, in.GetFilterMetadata())
	out.FilterMetadata[wire.OnDemandMetadata] = message.Struct(map[string]string{wire.OnDemandListeners: "true"})
	return out
}

func (in Outbound) metadata() *core.Metadata {
	return metadata(in.Class, in.Mesh, nil, in.Reports.Client)
}

func toCluster(reports observe.Side, name string) *listener.Filter {
	return tcpFilter(reports, name, []Weighted{{Cluster: name}}, Relay{})
}

// MakeOutbound serves the connections to one port, or to one address's port.
func MakeOutbound(in Outbound) *wire.Resource {
	l := &listener.Listener{
		Name: in.Name(), TrafficDirection: core.TrafficDirection_OUTBOUND,
		Metadata: in.metadata(), ContinueOnListenerFiltersTimeout: true, ListenerFiltersTimeout: message.Duration(in.Mesh.DetectionTimeout),
	}
	if !in.Direct {
		l.BindToPort = wrapperspb.Bool(false)
	}
	bindTo(l, in.Class, in.Bind, in.Port)
	bindAlso(l, in.Also, in.Port)
	if in.Only {
		l.FilterChains = []*listener.FilterChain{chain("", nil, nil, in.http("outbound_"+in.Name()))}
		return message.Resource(wire.TypeListener, l.Name, l)
	}
	for c := range in.Chains.All {
		l.FilterChains = append(l.FilterChains, in.opaque(c))
		in.Sniff = in.Sniff || c.Names != nil
	}
	if in.Sniff {
		l.ListenerFilters = append(l.ListenerFilters, inspectTLS())
	}
	if in.Routes != "" {
		l.ListenerFilters = append(l.ListenerFilters, inspectHTTP())
		l.FilterChains = append(l.FilterChains, in.plain("", "outbound_"+in.Name()))
	}
	l.DefaultFilterChain = in.otherwise()
	return message.Resource(wire.TypeListener, l.Name, l)
}

// plain is the chain for plaintext HTTP.
func (in Outbound) plain(name, prefix string) *listener.FilterChain {
	match := &listener.FilterChainMatch{TransportProtocol: transportRaw, ApplicationProtocols: plainHTTP()}
	return chain(name, match, nil, in.http(prefix))
}

func (in Outbound) http(prefix string) *listener.Filter {
	return httpManager(manager{mesh: in.Mesh, reports: in.Reports.Client, prefix: prefix, routes: in.Routes, traced: in.Traced, names: in.names()})
}

// otherwise is the chain for connections that match no other.
func (in Outbound) otherwise() *listener.FilterChain {
	if in.Default != nil {
		return chain("", nil, nil, relay(in.Mesh, in.Class, in.Reports.Client, in.Default.Slice(), in.Relay)...)
	}
	return chain("PassthroughFilterChain", nil, nil, toCluster(in.Reports.Client, in.unknown()))
}

func (in Outbound) opaque(c Chain) *listener.FilterChain {
	match := &listener.FilterChainMatch{ServerNames: c.Names.Slice()}
	for subnet := range c.Subnets.All {
		match.PrefixRanges = append(match.PrefixRanges, message.CIDR(subnet))
	}
	return chain("", match, nil, relay(in.Mesh, in.Class, in.Reports.Client, c.Targets.Slice(), c.Relay)...)
}
