package generate

import (
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawbuffer "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const (
	tlsSocket = "envoy.transport_sockets.tls"
	rawSocket = "envoy.transport_sockets.raw_buffer"
	alpnHTTP1 = "http/1.1"
	alpnHTTP2 = "h2"
)

// meshALPNs tell mesh mTLS from an application's own TLS.
func meshALPNs() []string {
	return []string{wire.ALPNMesh, wire.ALPNPeerData, wire.ALPNHTTP10, wire.ALPNHTTP11, wire.ALPNHTTP2}
}

// meshHTTPALPNs say that HTTP is inside mesh mTLS.
func meshHTTPALPNs() []string { return []string{wire.ALPNHTTP10, wire.ALPNHTTP11, wire.ALPNHTTP2} }

// secure decides how connections to the cluster are secured: as the DestinationRule says, otherwise mesh mTLS to endpoints that take it.
func (in Cluster) secure(c *cluster.Cluster) {
	rule := in.policy().TLS
	switch {
	case rule == nil:
		if in.Mesh.AutoMTLS && !in.Service.External && (in.Service.Resolution != model.ResolvePassthrough) {
			in.secureByEndpoint(c)
		}
	case rule.Mode == model.TLSDisable:
	case rule.Mode == model.TLSIstioMutual:
		c.TransportSocket = tlsTransport(in.meshContext(rule))
	default:
		c.TransportSocket = tlsTransport(in.originated(rule))
	}
}

// secureByEndpoint speaks mesh mTLS to the endpoints that take it, and plaintext to the others.
func (in Cluster) secureByEndpoint(c *cluster.Cluster) {
	if in.originalDestination() && !in.knowsEndpoints() {
		return // nothing is known about the endpoint dialled
	}
	c.TransportSocketMatches = []*cluster.Cluster_TransportSocketMatch{{
		Name:            "tlsMode-istio",
		Match:           stringStruct(map[string]string{wire.TLSModeKey: wire.TLSModeMesh}),
		TransportSocket: tlsTransport(in.meshContext(nil)),
	}, {
		Name:  "tlsMode-disabled",
		Match: &structpb.Struct{},
		TransportSocket: &core.TransportSocket{
			Name: rawSocket, ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: anyOf(&rawbuffer.RawBuffer{})},
		},
	}}
}

func tlsTransport(c *tls.UpstreamTlsContext) *core.TransportSocket {
	return &core.TransportSocket{Name: tlsSocket, ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: anyOf(c)}}
}

// meshContext is mesh mTLS towards the cluster. Without names to match, the identity fact of the endpoint dialled is the one accepted.
func (in Cluster) meshContext(rule *model.ClientTLS) *tls.UpstreamTlsContext {
	sni := serverName(in.Service.Host, in.subset(), in.Port)
	sans := in.Service.SANs
	if in.Class.Foreign && len(sans) == 0 {
		sans = in.Identities.slice()
	}
	if rule != nil {
		if rule.SNI != "" {
			sni = rule.SNI
		}
		if len(rule.SANs) > 0 {
			sans = rule.SANs
		}
	}
	alpns := []string{wire.ALPNMesh}
	if in.Class.Foreign {
		alpns = in.foreignALPNs()
	} else if in.speaksHTTP2() {
		alpns = append(alpns, alpnHTTP2)
	}
	return &tls.UpstreamTlsContext{
		Sni: sni,
		CommonTlsContext: &tls.CommonTlsContext{
			TlsParams:                      meshParameters(),
			AlpnProtocols:                  alpns,
			TlsCertificateSdsSecretConfigs: []*tls.SdsSecretConfig{sds(wire.SecretWorkload)},
			ValidationContextType:          validated(wire.SecretRoot, exactNames(sans)),
		},
	}
}

func (in Cluster) speaksHTTP2() bool {
	return in.protocol().IsHTTP2() || in.policy().ConnectionPool.UpgradeHTTP2 && in.protocol().IsHTTP()
}

// foreignALPNs name the protocol inside for a proxy that does not do so itself.
func (in Cluster) foreignALPNs() []string {
	switch {
	case in.speaksHTTP2():
		return []string{wire.ALPNHTTP2, wire.ALPNMesh, alpnHTTP2}
	case in.protocol().IsHTTP():
		return []string{wire.ALPNHTTP11, wire.ALPNMesh, alpnHTTP1}
	}
	return []string{wire.ALPNMesh}
}

// originated is TLS of the user's own choice towards the cluster.
func (in Cluster) originated(rule *model.ClientTLS) *tls.UpstreamTlsContext {
	out := &tls.UpstreamTlsContext{Sni: rule.SNI, CommonTlsContext: &tls.CommonTlsContext{TlsParams: meshParameters()}}
	sans := rule.SANs
	wildcard := strings.HasPrefix(in.Service.Host, "*")
	switch {
	case out.Sni != "":
	case wildcard:
		out.AutoHostSni = true
	default:
		out.Sni = in.Service.Host
	}
	if len(sans) == 0 && !rule.InsecureSkipVerify {
		if len(in.Service.SANs) > 0 {
			sans = in.Service.SANs
		} else if out.Sni != "" {
			sans = []string{out.Sni}
		} else {
			out.AutoSniSanValidation = true
		}
	}
	in.credentials(out.CommonTlsContext, rule, sans)
	if in.protocol().IsHTTP() || in.protocol() == model.Unknown {
		out.CommonTlsContext.AlpnProtocols = []string{alpnHTTP1}
		if in.speaksHTTP2() {
			out.CommonTlsContext.AlpnProtocols = []string{alpnHTTP2}
		}
	}
	return out
}

// credentials says which certificate to show and which roots to trust.
func (in Cluster) credentials(c *tls.CommonTlsContext, rule *model.ClientTLS, sans []string) {
	secret := rule.CredentialName != "" && (in.Class.Router || in.Selecting)
	if rule.Mode == model.TLSMutual {
		if secret {
			c.TlsCertificateSdsSecretConfigs = []*tls.SdsSecretConfig{sds(wire.SecretPrefix + rule.CredentialName)}
		} else if rule.ClientCertificate != "" {
			c.TlsCertificates = []*tls.TlsCertificate{{CertificateChain: file(rule.ClientCertificate), PrivateKey: file(rule.PrivateKey)}}
		}
	}
	if rule.InsecureSkipVerify {
		return
	}
	if secret {
		c.ValidationContextType = &tls.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tls.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext:         &tls.CertificateValidationContext{MatchTypedSubjectAltNames: typedNames(sans)},
			ValidationContextSdsSecretConfig: sds(wire.SecretPrefix + rule.CredentialName + wire.CACertSuffix),
		}}
		return
	}
	v := &tls.CertificateValidationContext{MatchTypedSubjectAltNames: typedNames(sans)}
	if rule.CACertificates == "" || rule.CACertificates == "system" {
		v.SystemRootCerts = &tls.CertificateValidationContext_SystemRootCerts{}
	} else {
		v.TrustedCa = file(rule.CACertificates)
	}
	c.ValidationContextType = &tls.CommonTlsContext_ValidationContext{ValidationContext: v}
}

func file(name string) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_Filename{Filename: name}}
}

// typedNames are the names that a server's certificate may have: SPIFFE IDs as URIs, others as DNS names.
func typedNames(names []string) []*tls.SubjectAltNameMatcher {
	var out []*tls.SubjectAltNameMatcher
	for _, name := range names {
		kind := tls.SubjectAltNameMatcher_DNS
		if strings.Contains(name, "://") {
			kind = tls.SubjectAltNameMatcher_URI
		}
		out = append(out, &tls.SubjectAltNameMatcher{SanType: kind, Matcher: exactly(name)})
	}
	return out
}

func exactNames(names []string) []*matcher.StringMatcher {
	var out []*matcher.StringMatcher
	for _, name := range names {
		out = append(out, exactly(name))
	}
	return out
}

func exactly(s string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: s}}
}

func startsWith(s string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Prefix{Prefix: s}}
}

// validated trusts a root held elsewhere and accepts the names given; none: see the dialect.
func validated(root string, names []*matcher.StringMatcher) *tls.CommonTlsContext_CombinedValidationContext {
	return &tls.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tls.CommonTlsContext_CombinedCertificateValidationContext{
		DefaultValidationContext:         untyped(names),
		ValidationContextSdsSecretConfig: sds(root),
	}}
}

// untyped matches names of any type; the field is deprecated in favour of one that must know the type, and is what meshes speak.
func untyped(names []*matcher.StringMatcher) *tls.CertificateValidationContext {
	//lint:ignore SA1019 see above
	return &tls.CertificateValidationContext{MatchSubjectAltNames: names}
}

// sds names a secret: one that the proxy holds itself, or one that pilot sends (wire.SecretPrefix).
func sds(name string) *tls.SdsSecretConfig {
	return &tls.SdsSecretConfig{Name: name, SdsConfig: ads()}
}

// meshParameters are TLS 1.2 to 1.3 with AEAD ciphers and forward secrecy.
func meshParameters() *tls.TlsParameters {
	return &tls.TlsParameters{
		TlsMinimumProtocolVersion: tls.TlsParameters_TLSv1_2,
		TlsMaximumProtocolVersion: tls.TlsParameters_TLSv1_3,
		CipherSuites: []string{
			"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
			"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
		},
	}
}

// meshServer terminates mesh mTLS: any identity of the trust domain or its aliases may connect.
func meshServer(mesh *model.Mesh, alpns []string) *core.TransportSocket {
	names := []*matcher.StringMatcher{startsWith("spiffe://" + mesh.TrustDomain + "/")}
	for _, alias := range mesh.TrustDomainAliases {
		names = append(names, startsWith("spiffe://"+alias+"/"))
	}
	return downstream(&tls.DownstreamTlsContext{
		RequireClientCertificate: truth(),
		CommonTlsContext: &tls.CommonTlsContext{
			TlsParams:                      meshParameters(),
			AlpnProtocols:                  alpns,
			TlsCertificateSdsSecretConfigs: []*tls.SdsSecretConfig{sds(wire.SecretWorkload)},
			ValidationContextType:          validated(wire.SecretRoot, names),
		},
	})
}

func downstream(c *tls.DownstreamTlsContext) *core.TransportSocket {
	return &core.TransportSocket{Name: tlsSocket, ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: anyOf(c)}}
}
