package compile

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// material reads a secret's content.
func material(in *tlsv3.Secret) (mtls.Material, error) {
	var m mtls.Material
	var err error
	read := func(field string, source *core.DataSource) []byte {
		switch s := source.GetSpecifier().(type) {
		case *core.DataSource_InlineBytes:
			return s.InlineBytes
		case *core.DataSource_InlineString:
			return []byte(s.InlineString)
		case nil:
			return nil
		}
		err = values.Wrong(field, "only inline content is implemented")
		return nil
	}
	m.Chain = read("tls_certificate.certificate_chain", in.GetTlsCertificate().GetCertificateChain())
	m.Key = read("tls_certificate.private_key", in.GetTlsCertificate().GetPrivateKey())
	m.Staple = read("tls_certificate.ocsp_staple", in.GetTlsCertificate().GetOcspStaple())
	m.CA = read("validation_context.trusted_ca", in.GetValidationContext().GetTrustedCa())
	m.CRL = read("validation_context.crl", in.GetValidationContext().GetCrl())
	return m, err
}
