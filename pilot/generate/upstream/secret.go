package upstream

import (
	"path"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// CertificateSecret is the SDS resource of a Secret's certificate with its key and, where there is one, the OCSP response about it.
func CertificateSecret(name string, s model.Secret) *wire.Resource {
	c := &tls.TlsCertificate{CertificateChain: message.Inline(s.Certificate), PrivateKey: message.Inline(s.Key)}
	if len(s.Staple) > 0 {
		c.OcspStaple = message.Inline(s.Staple)
	}
	return message.Resource(wire.TypeSecret, name, &tls.Secret{Name: name, Type: &tls.Secret_TlsCertificate{TlsCertificate: c}})
}

// AuthoritySecret is the SDS resource of the roots to trust, and of what they revoked where crl is not empty, PEM.
func AuthoritySecret(name string, roots, crl []byte) *wire.Resource {
	v := &tls.CertificateValidationContext{TrustedCa: message.Inline(roots)}
	if len(crl) > 0 {
		v.Crl = message.Inline(crl)
	}
	return message.Resource(wire.TypeSecret, name, &tls.Secret{Name: name, Type: &tls.Secret_ValidationContext{ValidationContext: v}})
}

// OwnCertificate is the SDS resource of a foreign proxy's own certificate, which it finds in a folder of its own disk.
func OwnCertificate(folder string) *wire.Resource {
	return message.Resource(wire.TypeSecret, wire.SecretWorkload, &tls.Secret{Name: wire.SecretWorkload, Type: &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{
		CertificateChain: message.File(path.Join(folder, wire.FileChain)), PrivateKey: message.File(path.Join(folder, wire.FileKey)),
		WatchedDirectory: &core.WatchedDirectory{Path: folder},
	}}})
}

// OwnRoots is the SDS resource of the mesh's roots for a foreign proxy, in the same folder.
func OwnRoots(folder string) *wire.Resource {
	return message.Resource(wire.TypeSecret, wire.SecretRoot, &tls.Secret{Name: wire.SecretRoot, Type: &tls.Secret_ValidationContext{ValidationContext: &tls.CertificateValidationContext{
		TrustedCa: message.File(path.Join(folder, wire.FileRoots)), WatchedDirectory: &core.WatchedDirectory{Path: folder},
	}}})
}
