package upstream

import (
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// systemRoots is where Debian, Ubuntu and Alpine, and images made of them, keep the roots of the public.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

const rawSocket = "envoy.transport_sockets.raw_buffer"

// secure decides how connections to the cluster are secured: as the DestinationRule says, otherwise mesh mTLS to endpoints that take it.
func (in Cluster) secure(c *cluster.Cluster) {
	rule := in.InForce().TLS
	switch {
	case rule == nil:
		if in.Mesh.AutoMTLS && !in.Service.External && in.Service.Resolution != model.ResolvePassthrough && !in.named() {
			in.secureByEndpoint(c)
		}
	case rule.Mode == model.TLSDisable, in.refused():
	case rule.Mode == model.TLSIstioMutual:
		c.TransportSocket = tlsTransport(in.meshContext(rule))
	default:
		c.TransportSocket = tlsTransport(in.originated(rule))
	}
}

// refused reports whether nobody may be reached, since how to secure connections is not understood.
func (in Cluster) refused() bool {
	rule := in.InForce().TLS
	return rule != nil && rule.Mode == model.TLSRefused && !in.Through
}

// secureByEndpoint speaks mesh mTLS to the endpoints that take it, and plaintext to the others.
func (in Cluster) secureByEndpoint(c *cluster.Cluster) {
	if in.originalDestination() && !in.knowsEndpoints() { // nothing is known about the endpoint dialled but that it is one of all
		if in.Meshed {
			c.TransportSocket = tlsTransport(in.meshContext(nil))
		}
		return
	}
	c.TransportSocketMatches = []*cluster.Cluster_TransportSocketMatch{{
		Name:            "tlsMode-istio",
		Match:           message.Struct(map[string]string{wire.TLSModeKey: wire.TLSModeMesh}),
		TransportSocket: tlsTransport(in.meshContext(nil)),
	}, {
		Name:            "tlsMode-disabled",
		Match:           &structpb.Struct{},
		TransportSocket: rawTransport(),
	}}
}

func tlsTransport(c *tls.UpstreamTlsContext) *core.TransportSocket {
	return &core.TransportSocket{Name: transport.Socket, ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: message.Any(c)}}
}

// meshContext is mesh mTLS towards the cluster.
func (in Cluster) meshContext(rule *model.ClientTLS) *tls.UpstreamTlsContext {
	sni := naming.ServerName(in.Service.Host, in.subset(), in.Port)
	if rule != nil && rule.SNI != "" {
		sni = rule.SNI
	}
	alpns := []string{wire.ALPNMesh}
	if in.Class.Foreign {
		alpns = in.foreignALPNs()
	} else if in.speaksHTTP2() {
		alpns = append(alpns, transport.HTTP2)
	}
	return &tls.UpstreamTlsContext{
		Sni: sni,
		CommonTlsContext: &tls.CommonTlsContext{
			TlsParams:                      transport.Parameters(in.Mesh.MeshTLS),
			AlpnProtocols:                  alpns,
			TlsCertificateSdsSecretConfigs: []*tls.SdsSecretConfig{message.Secret(wire.SecretWorkload)},
			ValidationContextType:          transport.Validated(wire.SecretRoot, in.accepted(rule)),
		},
	}
}

// detects reports whether the port's protocol is found out for each connection. Gateways do not: they ask their clients for HTTP/2, which says nothing
// of the port.
func (in Cluster) detects() bool { return in.protocol() == model.Unknown && !in.Class.Router }

// speaksHTTP2 reports whether HTTP/2 is spoken whatever the client speaks. A rule may raise any port but one whose protocol is found out, the mesh only
// those that say HTTP.
func (in Cluster) speaksHTTP2() bool {
	pool := in.InForce().ConnectionPool
	switch {
	case in.protocol().IsHTTP2():
		return true
	case pool.UpgradeHTTP2:
		return !in.detects()
	}
	return in.Mesh.UpgradeHTTP2 && !pool.KeepHTTP1 && !pool.UseClientProtocol && in.protocol().IsHTTP()
}

// foreignALPNs name the protocol inside for a proxy that does not do so itself. What may be no HTTP has no such name.
func (in Cluster) foreignALPNs() []string {
	switch {
	case !in.protocol().IsHTTP():
		return []string{wire.ALPNMesh}
	case in.speaksHTTP2():
		return []string{wire.ALPNHTTP2, wire.ALPNMesh, transport.HTTP2}
	}
	return []string{wire.ALPNHTTP11, wire.ALPNMesh, transport.HTTP1}
}

// originated is TLS of the user's own choice towards the cluster.
func (in Cluster) originated(rule *model.ClientTLS) *tls.UpstreamTlsContext {
	out := &tls.UpstreamTlsContext{Sni: rule.SNI, CommonTlsContext: &tls.CommonTlsContext{TlsParams: transport.Parameters(in.Mesh.TLS)}}
	names := message.ExactNames(rule.SANs)
	switch {
	case out.Sni != "":
	case in.wildcard(): // the name that the endpoint was looked up by, unless the request says another
		out.AutoHostSni = true
	default:
		out.Sni = in.Service.Host
	}
	if len(names) == 0 && !rule.InsecureSkipVerify {
		switch {
		case len(in.Service.SANs) > 0:
			names = in.members()
		case rule.SNI != "" && in.Service.Resolution != model.ResolveNamed: // as in Istio, a name that is asked for need not be proven
		case out.Sni != "" && !in.hostSNI():
			names = message.ExactNames([]string{out.Sni})
		default:
			out.AutoSniSanValidation = true
		}
	}
	in.credentials(out.CommonTlsContext, rule, names)
	switch {
	case in.speaksHTTP2():
		out.CommonTlsContext.AlpnProtocols = []string{transport.HTTP2}
	case in.protocol().IsHTTP() || in.protocol() == model.Unknown:
		out.CommonTlsContext.AlpnProtocols = []string{transport.HTTP1}
	}
	return out
}

func (in Cluster) wildcard() bool { return strings.HasPrefix(in.Service.Host, "*") }

// hostSNI reports whether each request says the server's name, be it by the host that its authority was rewritten to. A Kubernetes Service has the
// one name that DNS has for it: its clients may call it by shorter ones.
func (in Cluster) hostSNI() bool {
	rule := in.InForce().TLS
	if rule == nil || rule.SNI != "" || !in.Service.Entry {
		return false
	}
	return (rule.Mode == model.TLSSimple || rule.Mode == model.TLSMutual) && (in.protocol().IsHTTP() || in.protocol() == model.Unknown)
}

// credentials says which certificate to show and which roots to trust.
func (in Cluster) credentials(c *tls.CommonTlsContext, rule *model.ClientTLS, names []*matcher.StringMatcher) {
	secret := rule.CredentialName != "" && in.OwnSecret
	if rule.Mode == model.TLSMutual {
		if secret {
			c.TlsCertificateSdsSecretConfigs = []*tls.SdsSecretConfig{message.Secret(wire.SecretPrefix + rule.CredentialName)}
		} else if rule.ClientCertificate != "" {
			c.TlsCertificates = []*tls.TlsCertificate{{CertificateChain: message.File(rule.ClientCertificate), PrivateKey: message.File(rule.PrivateKey)}}
		}
	}
	if rule.InsecureSkipVerify {
		return
	}
	if secret {
		c.ValidationContextType = &tls.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tls.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext:         transport.Untyped(names),
			ValidationContextSdsSecretConfig: message.Secret(wire.SecretPrefix + rule.CredentialName + wire.CACertSuffix),
		}}
		return
	}
	v := transport.Untyped(names)
	system := rule.CACertificates == "" || rule.CACertificates == "system"
	switch {
	case system && in.Class.Foreign: // which knows of no roots but those in files
		v.TrustedCa = message.File(systemRoots)
	case system:
		v.SystemRootCerts = &tls.CertificateValidationContext_SystemRootCerts{}
	default:
		v.TrustedCa = message.File(rule.CACertificates)
	}
	if rule.CRL != "" {
		v.Crl = message.File(rule.CRL)
	}
	c.ValidationContextType = &tls.CommonTlsContext_ValidationContext{ValidationContext: v}
}
