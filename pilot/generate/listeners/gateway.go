package listeners

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/authz"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Gateway is the inputs of a gateway's listener.
type Gateway struct {
	Mesh     *model.Mesh
	Class    naming.Class
	Self     Self
	Reports  *observe.Reports
	Topology model.Topology
	Bind     string
	Port     uint16
	Policies *intern.List[*model.Authorization]
	Chains   *intern.List[GatewayChain]
	Names    bool // as in Outbound
}

// GatewayChain is one filter chain of a gateway.
type GatewayChain struct {
	Name    string
	Names   *intern.List[string] // SNI; empty: any
	TLS     *model.ServerTLS     // nil: plaintext, or passed through
	Routes  string               // RDS name; "": opaque
	Targets *intern.List[Weighted]
	Relay   Relay
	Sniff   bool // looks at SNI though it does not terminate TLS
	Web     bool // HTTP: browsers may call gRPC services
	Through bool // the mesh's own TLS, passed through
}

// MakeGateway serves one port of a gateway.
func MakeGateway(in Gateway) *wire.Resource {
	l := &listener.Listener{
		Name: in.Class.ListenerName(in.Bind, in.Port), TrafficDirection: core.TrafficDirection_OUTBOUND,
		Metadata: metadata(in.Class, in.Mesh, &in.Self, in.Reports.Client), AccessLog: listenerLog(in.Mesh, in.Reports.Client),
	}
	bindTo(l, in.Class, in.Bind, in.Port)
	if in.Topology.ProxyProtocol {
		l.ListenerFilters = append(l.ListenerFilters, introduction())
	}
	inspect := false
	for c := range in.Chains.All {
		inspect = inspect || c.Sniff || c.TLS != nil
		l.FilterChains = append(l.FilterChains, in.chain(c))
	}
	if inspect {
		l.ListenerFilters = append(l.ListenerFilters, inspectTLS())
	}
	return message.Resource(wire.TypeListener, l.Name, l)
}

func (in Gateway) chain(c GatewayChain) *listener.FilterChain {
	out := &listener.FilterChain{Name: c.Name}
	if c.Names != nil {
		out.FilterChainMatch = &listener.FilterChainMatch{ServerNames: c.Names.Slice()}
	}
	if c.Through {
		out.FilterChainMatch.ApplicationProtocols = transport.MeshALPNs()
	}
	if c.TLS != nil {
		out.TransportSocket = edgeServer(in.Mesh, c.TLS, c.Routes != "")
	}
	g := authz.Guard{Mesh: in.Mesh, Policies: in.Policies.Slice()}
	if c.Routes == "" {
		out.Filters = append(g.TCP(), relay(in.Mesh, in.Class, in.Reports.Client, c.Targets.Slice(), c.Relay)...)
		return out
	}
	out.Filters = []*listener.Filter{httpManager(manager{
		mesh: in.Mesh, topology: in.Topology, reports: in.Reports.Client, prefix: "outbound_" + in.Class.ListenerName(in.Bind, in.Port), routes: c.Routes, guards: g.HTTP(), traced: in.Self.ServiceName(), side: edge, web: c.Web, names: Outbound{Mesh: in.Mesh, Class: in.Class, Names: in.Names}.names(),
	})}
	return out
}

// edgeServer terminates a client's TLS with a Secret's certificate, or mesh mTLS.
func edgeServer(mesh *model.Mesh, t *model.ServerTLS, http bool) *core.TransportSocket {
	if t.Mode == model.ServerIstioMutual {
		names := transport.Members(mesh)
		if len(t.SANs) > 0 { // among those that the mesh's root vouches for
			names = message.ExactNames(t.SANs)
		}
		return transport.MeshServer(names, edgeParameters(mesh.MeshTLS, t), serverALPNs(http))
	}
	c := &tls.CommonTlsContext{TlsParams: edgeParameters(mesh.TLS, t)}
	for _, name := range t.Certificates {
		c.TlsCertificateSdsSecretConfigs = append(c.TlsCertificateSdsSecretConfigs, message.Secret(wire.SecretPrefix+name))
	}
	if http {
		c.AlpnProtocols = []string{transport.HTTP2, transport.HTTP1}
	}
	out := &tls.DownstreamTlsContext{CommonTlsContext: c}
	if t.Mode == model.ServerMutual || t.Mode == model.ServerOptionalMutual {
		judged := transport.Untyped(message.ExactNames(t.SANs))
		judged.VerifyCertificateSpki, judged.VerifyCertificateHash = t.SPKIs, t.Hashes
		c.ValidationContextType = &tls.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tls.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext:         judged,
			ValidationContextSdsSecretConfig: message.Secret(wire.SecretPrefix + t.Authority + wire.CACertSuffix),
		}}
	}
	if t.Mode == model.ServerMutual {
		out.RequireClientCertificate = message.True()
	}
	return transport.Downstream(out)
}

// edgeParameters are a server's TLS versions and ciphers, and where it says nothing, the mesh's.
func edgeParameters(otherwise model.TLSParameters, t *model.ServerTLS) *tls.TlsParameters {
	out := transport.Parameters(otherwise)
	out.TlsMaximumProtocolVersion = transport.Version(t.MaxVersion, out.TlsMaximumProtocolVersion)
	out.TlsMinimumProtocolVersion = transport.Version(t.MinVersion, min(out.TlsMinimumProtocolVersion, out.TlsMaximumProtocolVersion))
	if len(t.Ciphers) > 0 {
		out.CipherSuites = t.Ciphers
	}
	return out
}
