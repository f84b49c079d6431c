package listeners

import (
	"net"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	trace "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	forward "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	httpforward "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	faultfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	webfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_web/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	session "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	sniforward "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"
	tcpproxy "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tracingtype "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	xdstype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Names of extensions.
const (
	filterHCM    = "envoy.filters.network.http_connection_manager"
	filterTCP    = "envoy.filters.network.tcp_proxy"
	grpcWeb      = "envoy.filters.http.grpc_web"
	httpNames    = "envoy.filters.http.dynamic_forward_proxy"
	sniNames     = "envoy.filters.network.sni_dynamic_forward_proxy"
	httpRouter   = "envoy.filters.http.router"
	otelTracer   = "envoy.tracers.opentelemetry"
	serverHeader = "istio-envoy" // the value of the server header that clients know
)

// manager is what differs between HTTP connection managers.
type manager struct {
	mesh     *model.Mesh
	topology model.Topology // of a gateway
	reports  observe.Side
	prefix   string                    // of statistics
	routes   string                    // RDS name, or
	inline   *route.RouteConfiguration // routes of its own
	guards   []*hcm.HttpFilter         // before all others
	traced   string                    // the service in spans
	side     side
	outside  bool // inbound, from clients outside the mesh
	web      bool // clients may speak gRPC-Web
	// names are remembered by foreign proxies, where clusters go by names; nil: none does.
	names *forward.DnsCacheConfig
}

// side is where a connection manager stands.
type side uint8

const (
	outbound side = iota
	inbound
	edge
)

// httpManager returns the network filter that serves HTTP.
func httpManager(m manager) *listener.Filter {
	c := &hcm.HttpConnectionManager{
		CodecType: hcm.HttpConnectionManager_AUTO, StatPrefix: m.prefix,
		HttpFilters:                  append(m.guards, m.httpFilters()...),
		AccessLog:                    accessLogs(m.reports.Logs),
		UpgradeConfigs:               []*hcm.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		PathWithEscapedSlashesAction: hcm.HttpConnectionManager_KEEP_UNCHANGED,
		StreamIdleTimeout:            message.Duration(0),
		UseRemoteAddress:             wrapperspb.Bool(m.side == edge),
		AppendXForwardedPort:         m.mesh.Headers.ForwardedPort && m.side == edge,
		Tracing:                      tracing(m.reports.Tracing, m.traced),
	}
	if m.mesh.Headers.NoRequestID {
		c.GenerateRequestId = wrapperspb.Bool(false)
	}
	normalize(c, m.mesh.PathNormalization)
	if m.inline != nil {
		c.RouteSpecifier = &hcm.HttpConnectionManager_RouteConfig{RouteConfig: m.inline}
	} else {
		c.RouteSpecifier = &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{ConfigSource: message.ADS(), RouteConfigName: m.routes}}
	}
	switch m.side {
	case inbound:
		c.ServerName = serverHeader
		told := m.mesh.Headers.ClientCert
		c.ForwardClientCertDetails = forwardCert(m.mesh.Headers.ForwardClientCert, hcm.HttpConnectionManager_APPEND_FORWARD)
		if m.outside { // what they say of others proves nothing
			c.ForwardClientCertDetails = hcm.HttpConnectionManager_SANITIZE_SET
		}
		c.SetCurrentClientCertDetails = &hcm.HttpConnectionManager_SetCurrentClientCertDetails{
			Subject: wrapperspb.Bool(!told.NoSubject), Uri: !told.NoURI, Dns: !told.NoDNS, Cert: told.PEM}
	case edge:
		atEdge(c, m.topology)
	}
	server(c, m.mesh.Headers)
	return message.NetworkFilter(filterHCM, c)
}

// atEdge trusts no header of a client that came from outside.
func atEdge(c *hcm.HttpConnectionManager, before model.Topology) {
	c.ServerName = serverHeader
	c.XffNumTrustedHops = before.TrustedProxies
	c.ForwardClientCertDetails = forwardCert(before.ForwardClientCert, hcm.HttpConnectionManager_SANITIZE_SET)
	c.SetCurrentClientCertDetails = &hcm.HttpConnectionManager_SetCurrentClientCertDetails{Subject: message.True(), Cert: true, Uri: true, Dns: true}
	c.InternalAddressConfig = &hcm.HttpConnectionManager_InternalAddressConfig{ // only the pod itself is internal
		CidrRanges: []*core.CidrRange{{AddressPrefix: "127.0.0.1", PrefixLen: message.U32(32)}, {AddressPrefix: "::1", PrefixLen: message.U32(128)}},
	}
}

// forwardCert is what becomes of X-Forwarded-Client-Cert.
func forwardCert(said string, byDefault hcm.HttpConnectionManager_ForwardClientCertDetails) hcm.HttpConnectionManager_ForwardClientCertDetails {
	if mode, known := hcm.HttpConnectionManager_ForwardClientCertDetails_value[said]; known {
		return hcm.HttpConnectionManager_ForwardClientCertDetails(mode)
	}
	return byDefault
}

// server says who answers.
func server(c *hcm.HttpConnectionManager, said model.ProxyHeaders) {
	switch {
	case said.KeepServer:
		c.ServerName, c.ServerHeaderTransformation = "", hcm.HttpConnectionManager_PASS_THROUGH
	case said.Server != "":
		c.ServerName = said.Server
	}
}

func normalize(c *hcm.HttpConnectionManager, mode model.PathNormalization) {
	c.NormalizePath = wrapperspb.Bool(mode != model.PathNone)
	c.MergeSlashes = mode == model.PathMergeSlashes || mode == model.PathDecodeAndMergeSlashes
	if mode == model.PathDecodeAndMergeSlashes {
		c.PathWithEscapedSlashesAction = hcm.HttpConnectionManager_UNESCAPE_AND_FORWARD
	}
}

// httpFilters are the filters of a connection manager, in order, after authorization.
func (m manager) httpFilters() []*hcm.HttpFilter {
	var out []*hcm.HttpFilter
	if m.web {
		out = append(out, message.HTTPFilter(grpcWeb, &webfilter.GrpcWeb{}))
	}
	out = append(out, message.HTTPFilter(message.FilterFault, &faultfilter.HTTPFault{}), message.HTTPFilter(message.FilterCORS, &corsfilter.Cors{}))
	if m.names != nil {
		out = append(out, message.HTTPFilter(httpNames, &httpforward.FilterConfig{ImplementationSpecifier: &httpforward.FilterConfig_DnsCacheConfig{DnsCacheConfig: m.names}}))
	}
	if m.mesh.Sessions && m.side != inbound { // routes say by what
		out = append(out, message.HTTPFilter(message.FilterSession, &session.StatefulSession{}))
	}
	return append(out, message.HTTPFilter(httpRouter, &router.Router{SuppressEnvoyHeaders: m.mesh.Headers.NoEnvoyHeaders}))
}

// ServiceName is what spans call the workload.
func (s Self) ServiceName() string {
	name := s.Facts.CanonicalName
	if name == "" {
		name = s.Facts.Workload
	}
	if s.Facts.Namespace != "" {
		name += "." + s.Facts.Namespace
	}
	return name
}

// tracing says where spans of a service go; nil: nowhere.
func tracing(t model.Tracing, service string) *hcm.HttpConnectionManager_Tracing {
	if t.Target == "" {
		return nil
	}
	return &hcm.HttpConnectionManager_Tracing{
		MaxPathTagLength: maxPath(t), CustomTags: customTags(t.Tags), NoContextPropagation: t.Silent,
		RandomSampling: &xdstype.Percent{Value: t.Sampling},
		Provider: &trace.Tracing_Http{Name: otelTracer, ConfigType: &trace.Tracing_Http_TypedConfig{TypedConfig: message.Any(&trace.OpenTelemetryConfig{
			ServiceName: service,
			GrpcService: &core.GrpcService{TargetSpecifier: &core.GrpcService_GoogleGrpc_{GoogleGrpc: &core.GrpcService_GoogleGrpc{
				TargetUri: t.Target, StatPrefix: "tracing",
			}}},
		})}},
	}
}

func customTags(tags []model.SpanTag) []*tracingtype.CustomTag {
	var out []*tracingtype.CustomTag
	for _, t := range tags {
		tag := &tracingtype.CustomTag{Tag: t.Name, Type: &tracingtype.CustomTag_Literal_{Literal: &tracingtype.CustomTag_Literal{Value: t.Value}}}
		if t.Format != "" {
			tag.Type = &tracingtype.CustomTag_Value{Value: t.Format}
		}
		if t.Header != "" {
			tag.Type = &tracingtype.CustomTag_RequestHeader{RequestHeader: &tracingtype.CustomTag_Header{Name: t.Header, DefaultValue: t.Value}}
		}
		if t.Environment != "" {
			tag.Type = &tracingtype.CustomTag_Environment_{Environment: &tracingtype.CustomTag_Environment{Name: t.Environment, DefaultValue: t.Value}}
		}
		out = append(out, tag)
	}
	return out
}

func maxPath(t model.Tracing) *wrapperspb.UInt32Value {
	if t.MaxPath == 0 {
		return nil
	}
	return message.U32(t.MaxPath)
}

// Weighted is one target of a connection.
type Weighted struct {
	Cluster string
	Weight  uint32
}

// Relay is what a traffic policy says of relayed connections.
type Relay struct {
	Idle     *model.Duration // nil: the default
	Longest  model.Duration  // 0: any
	BySource bool            // hashing balancers choose by the client's address
	Tunnel   model.Tunnel
	// Names is the port at which a foreign proxy looks for the name in a ClientHello; 0: the target does not go by names.
	Names uint16
}

// RelayOf reads what a policy, which may be nil, says of relayed connections.
func RelayOf(p *model.TrafficPolicy) Relay {
	if p == nil {
		return Relay{}
	}
	key := p.LoadBalancer.Hash
	return Relay{Idle: p.ConnectionPool.TCPIdleTimeout, Longest: p.ConnectionPool.MaxConnectionDuration, BySource: key != nil && key.SourceIP, Tunnel: p.Tunnel}
}

// relay returns the network filters that relay bytes.
func relay(mesh *model.Mesh, class naming.Class, reports observe.Side, targets []Weighted, r Relay) []*listener.Filter {
	last := tcpFilter(reports, targets[0].Cluster, targets, r)
	if r.Names == 0 {
		return []*listener.Filter{last}
	}
	return []*listener.Filter{message.NetworkFilter(sniNames, &sniforward.FilterConfig{
		DnsCacheConfig: upstream.Names(mesh, class), PortSpecifier: &sniforward.FilterConfig_PortValue{PortValue: uint32(r.Names)},
	}), last}
}

// tcpFilter returns the network filter that relays bytes.
func tcpFilter(reports observe.Side, prefix string, targets []Weighted, r Relay) *listener.Filter {
	p := &tcpproxy.TcpProxy{StatPrefix: prefix, AccessLog: accessLogs(reports.Logs), IdleTimeout: message.Optional(r.Idle),
		MaxDownstreamConnectionDuration: message.Nonzero(r.Longest)}
	if r.BySource {
		p.HashPolicy = []*xdstype.HashPolicy{{PolicySpecifier: &xdstype.HashPolicy_SourceIp_{SourceIp: &xdstype.HashPolicy_SourceIp{}}}}
	}
	if t := r.Tunnel; t.Host != "" {
		p.TunnelingConfig = &tcpproxy.TcpProxy_TunnelingConfig{Hostname: net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))), UsePost: t.Post}
	}
	if len(targets) == 1 {
		p.ClusterSpecifier = &tcpproxy.TcpProxy_Cluster{Cluster: targets[0].Cluster}
		return message.NetworkFilter(filterTCP, p)
	}
	group := &tcpproxy.TcpProxy_WeightedCluster{}
	for _, t := range targets {
		group.Clusters = append(group.Clusters, &tcpproxy.TcpProxy_WeightedCluster_ClusterWeight{Name: t.Cluster, Weight: t.Weight})
	}
	p.ClusterSpecifier = &tcpproxy.TcpProxy_WeightedClusters{WeightedClusters: group}
	return message.NetworkFilter(filterTCP, p)
}
