package listeners

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/authz"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Inbound is the inputs of all that a sidecar needs to receive traffic.
type Inbound struct {
	Mesh     *model.Mesh
	Class    naming.Class
	Self     Self
	Reports  *observe.Reports
	Mode     model.MTLSMode // of ports that nobody declared
	Ports    *intern.List[Port]
	Policies *intern.List[*model.Authorization]
	// For programs with gRPC's xDS server: where they may listen, and whether clients are told that they take mesh mTLS.
	Addresses *intern.List[string]
	MeshTLS   bool
}

// Port is one port of the workload.
type Port struct {
	Port     uint16
	Protocol model.Protocol
	Mode     model.MTLSMode
	Service  *model.Service        // the first to declare the port; nil: only a policy or a Sidecar names it
	Number   uint16                // of the service's port
	Endpoint string                // where to deliver instead of the original destination
	Bind     string                // where the proxy listens for the port itself, too; "": it does not
	Also     string                // another address of that listener, or ""
	TLS      *model.ServerTLS      // of clients outside the mesh; it counts where Mode is DISABLE
	Pool     *model.ConnectionPool // nil: the default
}

// foreign reports whether the port ends TLS that is not the mesh's.
func (p Port) foreign() bool { return p.TLS != nil && p.Mode == model.MTLSDisable }

// pool is what holds for connections to the application.
func (p Port) pool() model.ConnectionPool {
	if p.Pool == nil {
		return model.ConnectionPool{}
	}
	return *p.Pool
}

// Resources are the listener and the clusters of a sidecar, or the listeners of a program with gRPC's xDS server.
func (in Inbound) Resources() []*wire.Resource {
	if in.Class.Proxyless {
		return in.serverListeners()
	}
	out := []*wire.Resource{upstream.MakeFixed(upstream.Fixed{Mesh: in.Mesh, Class: in.Class, Name: wire.ClusterInboundPassthrough})}
	for p := range in.Ports.All {
		out = append(out, in.cluster(p))
	}
	for p := range in.Ports.All {
		if p.Bind != "" {
			out = append(out, in.direct(p))
		}
	}
	return append(out, in.listener())
}

// direct is the listener of a port at which the proxy listens itself: for clients whose connections are not captured. Its name is no outbound listener's,
// as the workload may dial the same address: its own, as an endpoint of a headless Service.
func (in Inbound) direct(p Port) *wire.Resource {
	l := &listener.Listener{
		Name: "inbound_" + in.Class.ListenerName(p.Bind, p.Port), TrafficDirection: core.TrafficDirection_INBOUND, Metadata: metadata(in.Class, in.Mesh, &in.Self, in.Reports.Server),
		AccessLog: listenerLog(in.Mesh, in.Reports.Server), ContinueOnListenerFiltersTimeout: true, ListenerFiltersTimeout: message.Duration(in.Mesh.DetectionTimeout),
		ListenerFilters: []*listener.ListenerFilter{inspectTLS(), inspectHTTPBut(slices.Values([]Port{p}))},
		FilterChains:    in.chains(p, naming.Inbound(p.Port), authz.Guard{Mesh: in.Mesh, Policies: in.Policies.Slice()}),
	}
	bindTo(l, in.Class, p.Bind, p.Port)
	bindAlso(l, p.Also, p.Port)
	return message.Resource(wire.TypeListener, l.Name, l)
}

// cluster delivers to the application's port.
func (in Inbound) cluster(p Port) *wire.Resource {
	pool := p.pool()
	c := &cluster.Cluster{Name: naming.Inbound(p.Port), ConnectTimeout: message.Duration(cmp.Or(pool.ConnectTimeout, in.Mesh.ConnectTimeout))}
	upstream.Deliver(c, in.Class)
	if at, err := netip.ParseAddrPort(p.Endpoint); err == nil {
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
		c.LbPolicy = cluster.Cluster_ROUND_ROBIN
		c.LoadAssignment = upstream.OneEndpoint(c.Name, at.Addr().String(), at.Port())
		if at.Addr().IsLoopback() {
			c.UpstreamBindConfig = nil // only the pod's own address would be captured again
		}
	}
	if strings.HasPrefix(p.Endpoint, model.SocketScheme) {
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
		c.LbPolicy, c.UpstreamBindConfig = cluster.Cluster_ROUND_ROBIN, nil
		c.LoadAssignment = upstream.OneEndpoint(c.Name, p.Endpoint, 0)
	}
	upstream.Limit(c, pool)
	c.TypedExtensionProtocolOptions = upstream.HTTPOptions(upstream.ProtocolOptions{
		Downstream: p.Protocol == model.Unknown || pool.UseClientProtocol, HTTP2: p.Protocol.IsHTTP2(), Pool: pool})
	if p.Service != nil {
		c.Metadata = upstream.ServiceMetadata(p.Service, "")
	}
	return message.Resource(wire.TypeCluster, c.Name, c)
}

// listener is where captured inbound connections arrive.
func (in Inbound) listener() *wire.Resource {
	l := &listener.Listener{
		Name: wire.ListenerVirtualInbound, TrafficDirection: core.TrafficDirection_INBOUND, Metadata: metadata(in.Class, in.Mesh, &in.Self, in.Reports.Server),
		AccessLog: listenerLog(in.Mesh, in.Reports.Server), ContinueOnListenerFiltersTimeout: true, ListenerFiltersTimeout: message.Duration(in.Mesh.DetectionTimeout),
		ListenerFilters: []*listener.ListenerFilter{originalDestination(), inspectTLS(), inspectHTTPBut(in.Ports.All)},
		FilterChains: []*listener.FilterChain{
			chain("virtualInbound-blackhole", portMatch(wire.PortInbound), nil, toCluster(in.Reports.Server, wire.ClusterBlackHole)),
		},
	}
	bindTo(l, in.Class, "", wire.PortInbound)
	g := authz.Guard{Mesh: in.Mesh, Policies: in.Policies.Slice()}
	for p := range in.Ports.All {
		l.FilterChains = append(l.FilterChains, in.chains(p, naming.Inbound(p.Port), g)...)
	}
	rest := Port{Protocol: model.Unknown, Mode: in.Mode}
	l.FilterChains = append(l.FilterChains, in.chains(rest, wire.ClusterInboundPassthrough, g)...)
	return message.Resource(wire.TypeListener, l.Name, l)
}

// chainKind is one row of the dialect's inbound table.
type chainKind struct {
	transport string
	alpns     []string
	terminate bool
	http      bool
}

// chainKinds are the chains of a port, by what it carries and what it demands.
func chainKinds(protocol model.Protocol, mode model.MTLSMode) []chainKind {
	switch {
	case protocol.IsHTTP():
		return httpChains(mode)
	case protocol == model.Unknown:
		return sniffedChains(mode)
	}
	return tcpChains(mode)
}

func httpChains(mode model.MTLSMode) []chainKind {
	switch mode {
	case model.MTLSStrict:
		return []chainKind{{transportTLS, nil, true, true}}
	case model.MTLSDisable:
		return []chainKind{{transportRaw, nil, false, true}}
	}
	return []chainKind{{transportTLS, transport.MeshALPNs(), true, true}, {transportRaw, nil, false, true}}
}

func tcpChains(mode model.MTLSMode) []chainKind {
	plain := []chainKind{{transportTLS, nil, false, false}, {transportRaw, nil, false, false}}
	switch mode {
	case model.MTLSStrict:
		return []chainKind{{transportTLS, nil, true, false}}
	case model.MTLSDisable:
		return plain
	}
	return append([]chainKind{{transportTLS, transport.MeshALPNs(), true, false}}, plain...)
}

func sniffedChains(mode model.MTLSMode) []chainKind {
	switch mode {
	case model.MTLSStrict:
		return []chainKind{{transportTLS, transport.MeshHTTPALPNs(), true, true}, {transportTLS, nil, true, false}}
	case model.MTLSDisable:
		return []chainKind{{transportRaw, plainHTTP(), false, true}, {transportRaw, nil, false, false}, {transportTLS, nil, false, false}}
	}
	return []chainKind{
		{transportTLS, transport.MeshHTTPALPNs(), true, true}, {transportRaw, plainHTTP(), false, true},
		{transportTLS, []string{wire.ALPNPeerData, wire.ALPNMesh}, true, false},
		{transportRaw, nil, false, false}, {transportTLS, nil, false, false},
	}
}

// chains are the filter chains of a port; port 0 is every other port.
func (in Inbound) chains(p Port, target string, g authz.Guard) []*listener.FilterChain {
	var out []*listener.FilterChain
	kinds := chainKinds(p.Protocol, p.Mode)
	if p.foreign() { // and nothing else is let in
		kinds = []chainKind{{transportTLS, nil, true, p.Protocol == model.HTTPS}}
	}
	for _, kind := range kinds {
		match := &listener.FilterChainMatch{TransportProtocol: kind.transport, ApplicationProtocols: kind.alpns}
		if p.Port != 0 {
			match.DestinationPort = message.U32(uint32(p.Port))
		}
		c := &listener.FilterChain{Name: in.chainName(p, kind), FilterChainMatch: match}
		switch {
		case p.foreign():
			c.TransportSocket = foreignServer(in.Mesh, p.TLS, kind.http)
		case kind.terminate:
			c.TransportSocket = transport.MeshServer(transport.Members(in.Mesh), transport.Parameters(in.Mesh.MeshTLS), serverALPNs(kind.http))
		}
		if kind.http {
			c.Filters = []*listener.Filter{in.httpFilter(p, target, g)}
		} else {
			c.Filters = append(g.TCP(), tcpFilter(in.Reports.Server, target, []Weighted{{Cluster: target}}, RelayOf(&model.TrafficPolicy{ConnectionPool: p.pool()})))
		}
		out = append(out, c)
	}
	return out
}

// foreignServer ends the TLS of clients outside the mesh, by files of the proxy's own container.
func foreignServer(mesh *model.Mesh, t *model.ServerTLS, http bool) *core.TransportSocket {
	c := &tls.CommonTlsContext{TlsParams: edgeParameters(mesh.TLS, t),
		TlsCertificates: []*tls.TlsCertificate{{CertificateChain: message.File(t.Files.Chain), PrivateKey: message.File(t.Files.Key)}}}
	if http {
		c.AlpnProtocols = []string{transport.HTTP2, transport.HTTP1}
	}
	out := &tls.DownstreamTlsContext{CommonTlsContext: c}
	if t.Mode == model.ServerMutual {
		judged := &tls.CertificateValidationContext{TrustedCa: message.File(t.Files.Roots), VerifyCertificateSpki: t.SPKIs, VerifyCertificateHash: t.Hashes}
		if t.Files.CRL != "" {
			judged.Crl = message.File(t.Files.CRL)
		}
		c.ValidationContextType = &tls.CommonTlsContext_ValidationContext{ValidationContext: judged}
		out.RequireClientCertificate = message.True()
	}
	return transport.Downstream(out)
}

// serverALPNs are what a mesh server chooses from.
func serverALPNs(http bool) []string {
	if http {
		return []string{transport.HTTP2, transport.HTTP1, wire.ALPNMesh}
	}
	return []string{wire.ALPNMesh, transport.HTTP2, transport.HTTP1}
}

func (in Inbound) chainName(p Port, kind chainKind) string {
	name := in.Class.ListenerName("", p.Port)
	if p.Port == 0 {
		name = wire.ListenerVirtualInbound
		if kind.http {
			name = "virtualInbound-catchall-http"
		}
	}
	switch {
	case p.foreign():
		return name + "-tls"
	case kind.terminate:
		return name + "-mtls"
	case kind.transport == transportTLS:
		return name + "-tls"
	}
	return name
}

// httpFilter serves HTTP to the application.
func (in Inbound) httpFilter(p Port, target string, g authz.Guard) *listener.Filter {
	number := p.Number
	if number == 0 {
		number = p.Port
	}
	action := &route.RouteAction{
		ClusterSpecifier: &route.RouteAction_Cluster{Cluster: target}, Timeout: message.Duration(0), MaxStreamDuration: message.GRPCTimeout(0),
	}
	if p.Protocol != model.GRPC && p.Protocol != model.GRPCWeb {
		action.RetryPolicy = &route.RetryPolicy{RetryOn: "reset-before-request", NumRetries: message.U32(2)}
	}
	operation := "/*"
	if p.Service != nil {
		operation = p.Service.Host + ":" + naming.Port(p.Number) + operation
	}
	routes := &route.RouteConfiguration{Name: target, IgnorePortInHostMatching: true, VirtualHosts: []*route.VirtualHost{{
		Name: "inbound|http|" + naming.Port(number), Domains: []string{"*"},
		Routes: []*route.Route{{
			Name: "default", Match: message.AnyPath(), Action: &route.Route_Route{Route: action}, Decorator: &route.Decorator{Operation: operation},
		}},
	}}}
	return httpManager(manager{
		mesh: in.Mesh, reports: in.Reports.Server, prefix: "inbound_" + in.Class.ListenerName("", p.Port), inline: routes, guards: g.HTTP(), traced: in.Self.ServiceName(), side: inbound,
		web: p.Protocol == model.GRPCWeb, outside: p.foreign(),
	})
}
