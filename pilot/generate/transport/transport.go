// Package transport is what both sides of mesh mTLS share: protocols, parameters, whom to trust. It decides nothing about when
// connections are secured.
package transport

import (
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// The socket that secures connections, and the protocols inside that everybody knows.
const (
	Socket = "envoy.transport_sockets.tls"
	HTTP1  = "http/1.1"
	HTTP2  = "h2"
)

// MeshALPNs tell mesh mTLS from an application's own TLS.
func MeshALPNs() []string {
	return []string{wire.ALPNMesh, wire.ALPNPeerData, wire.ALPNHTTP10, wire.ALPNHTTP11, wire.ALPNHTTP2}
}

// MeshHTTPALPNs say that HTTP is inside mesh mTLS.
func MeshHTTPALPNs() []string { return []string{wire.ALPNHTTP10, wire.ALPNHTTP11, wire.ALPNHTTP2} }

// Parameters are what may be agreed on: unless p says otherwise, TLS 1.2 to 1.3 with AEAD ciphers and forward secrecy.
func Parameters(p model.TLSParameters) *tls.TlsParameters {
	out := &tls.TlsParameters{
		TlsMinimumProtocolVersion: Version(p.MinVersion, tls.TlsParameters_TLSv1_2),
		TlsMaximumProtocolVersion: tls.TlsParameters_TLSv1_3,
		CipherSuites:              p.Ciphers,
		EcdhCurves:                p.Curves,
	}
	if len(p.Ciphers) == 0 {
		out.CipherSuites = []string{
			"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
			"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
		}
	}
	return out
}

// Version is a version of TLS by the model's name.
func Version(name string, otherwise tls.TlsParameters_TlsProtocol) tls.TlsParameters_TlsProtocol {
	switch name {
	case "1.2":
		return tls.TlsParameters_TLSv1_2
	case "1.3":
		return tls.TlsParameters_TLSv1_3
	}
	return otherwise
}

// Validated trusts a root held elsewhere and accepts the names given; none: see the dialect.
func Validated(root string, names []*matcher.StringMatcher) *tls.CommonTlsContext_CombinedValidationContext {
	return &tls.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tls.CommonTlsContext_CombinedCertificateValidationContext{
		DefaultValidationContext:         Untyped(names),
		ValidationContextSdsSecretConfig: message.Secret(root),
	}}
}

// Untyped matches names of any type; the field is deprecated in favour of one that must know the type, and is what meshes speak.
func Untyped(names []*matcher.StringMatcher) *tls.CertificateValidationContext {
	//lint:ignore SA1019 see above
	return &tls.CertificateValidationContext{MatchSubjectAltNames: names}
}

const scheme = "spiffe://"

// Members are the names of the mesh: every identity of its trust domain and of the aliases. To a proxy of ours that connects to servers, they are the
// identity of the endpoint dialled under each of these.
func Members(mesh *model.Mesh) []*matcher.StringMatcher {
	names := []*matcher.StringMatcher{message.StartsWith(scheme + mesh.TrustDomain + "/")}
	for _, alias := range mesh.TrustDomainAliases {
		names = append(names, message.StartsWith(scheme+alias+"/"))
	}
	return names
}

// IsDomain reports whether a name is one of Members.
func IsDomain(name *matcher.StringMatcher) bool { return strings.HasPrefix(name.GetPrefix(), scheme) }

// MeshServer terminates mesh mTLS: clients with one of the names may connect.
func MeshServer(names []*matcher.StringMatcher, parameters *tls.TlsParameters, alpns []string) *core.TransportSocket {
	return Downstream(&tls.DownstreamTlsContext{
		RequireClientCertificate: message.True(),
		CommonTlsContext: &tls.CommonTlsContext{
			TlsParams:                      parameters,
			AlpnProtocols:                  alpns,
			TlsCertificateSdsSecretConfigs: []*tls.SdsSecretConfig{message.Secret(wire.SecretWorkload)},
			ValidationContextType:          Validated(wire.SecretRoot, names),
		},
	})
}

// Downstream wraps the server side of TLS.
func Downstream(c *tls.DownstreamTlsContext) *core.TransportSocket {
	return &core.TransportSocket{Name: Socket, ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: message.Any(c)}}
}

// Provided is both sides' part of mesh mTLS for programs with gRPC's xDS client, which take certificate and roots from a provider that their
// bootstrap names (gRFC A29).
func Provided(names []*matcher.StringMatcher) *tls.CommonTlsContext {
	provider := func(what string) *tls.CertificateProviderPluginInstance {
		return &tls.CertificateProviderPluginInstance{InstanceName: wire.ProviderWorkload, CertificateName: what}
	}
	v := Untyped(names)
	v.CaCertificateProviderInstance = provider(wire.SecretRoot)
	return &tls.CommonTlsContext{
		TlsCertificateProviderInstance: provider(wire.SecretWorkload),
		ValidationContextType:          &tls.CommonTlsContext_ValidationContext{ValidationContext: v},
	}
}
