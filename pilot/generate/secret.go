package generate

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/api/wire"
)

// CertificateSecret is the SDS resource of a certificate and its key, PEM.
func CertificateSecret(name string, certificate, key []byte) *wire.Resource {
	return resource(wire.TypeSecret, name, &tls.Secret{Name: name, Type: &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{
		CertificateChain: inlineBytes(certificate), PrivateKey: inlineBytes(key),
	}}})
}

// AuthoritySecret is the SDS resource of the roots to trust, and of what they revoked where crl is not empty, PEM.
func AuthoritySecret(name string, roots, crl []byte) *wire.Resource {
	v := &tls.CertificateValidationContext{TrustedCa: inlineBytes(roots)}
	if len(crl) > 0 {
		v.Crl = inlineBytes(crl)
	}
	return resource(wire.TypeSecret, name, &tls.Secret{Name: name, Type: &tls.Secret_ValidationContext{ValidationContext: v}})
}

func inlineBytes(b []byte) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: b}}
}
