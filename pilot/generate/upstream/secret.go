package upstream

import (
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
)

// CertificateSecret is the SDS resource of a certificate and its key, PEM.
func CertificateSecret(name string, certificate, key []byte) *wire.Resource {
	return message.Resource(wire.TypeSecret, name, &tls.Secret{Name: name, Type: &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{
		CertificateChain: message.Inline(certificate), PrivateKey: message.Inline(key),
	}}})
}

// AuthoritySecret is the SDS resource of the roots to trust, and of what they revoked where crl is not empty, PEM.
func AuthoritySecret(name string, roots, crl []byte) *wire.Resource {
	v := &tls.CertificateValidationContext{TrustedCa: message.Inline(roots)}
	if len(crl) > 0 {
		v.Crl = message.Inline(crl)
	}
	return message.Resource(wire.TypeSecret, name, &tls.Secret{Name: name, Type: &tls.Secret_ValidationContext{ValidationContext: v}})
}
