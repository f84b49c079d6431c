package istioapi

import (
	"slices"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// Fields of a server's tls that modes leave without effect, as in Istio. subjectAltNames are none: who names clients wants no others.
var (
	ofClients = []string{"caCertCredentialName", "verifyCertificateSpki", "verifyCertificateHash"}
	ofTLS     = slices.Concat(ofClients, []string{"minProtocolVersion", "maxProtocolVersion", "cipherSuites", "credentialName", "credentialNames",
		"caCrl", "tlsCertificates", "insecureSkipVerify"})
	ofPassthrough = slices.Concat(ofTLS, []string{"serverCertificate", "privateKey", "caCertificates"})
	ofSimple      = slices.Concat(ofClients, []string{"caCertificates", "caCrl", "insecureSkipVerify"})
	ofPlain       = slices.Concat(ofTLS, []string{"mode"})
)

// inert are the fields that have no effect for a server, and why.
func inert(s *networking.Server) (names []string, why string) {
	protocol, _ := values.Protocol(s.GetPort().GetProtocol())
	switch mode := s.GetTls().GetMode(); {
	case mode == networking.ServerTLSSettings_SIMPLE && protocol.IsTLS():
		return ofSimple, "mode SIMPLE asks for no client certificate"
	case mode == networking.ServerTLSSettings_ISTIO_MUTUAL && protocol.IsTLS():
		return ofClients, "mode ISTIO_MUTUAL judges clients by the mesh's roots"
	case mode != networking.ServerTLSSettings_PASSTHROUGH && mode != networking.ServerTLSSettings_AUTO_PASSTHROUGH:
		return nil, ""
	case protocol.IsTLS():
		return ofPassthrough, "TLS does not end at this server"
	case protocol.IsHTTP():
		return ofPlain, "this server speaks no TLS"
	}
	return nil, ""
}

// effective returns the spec without what has no effect, of which it warns.
func (r *reader) effective(spec *networking.Gateway) *networking.Gateway {
	out := spec
	for i, s := range spec.Servers {
		names, why := inert(s)
		given := s.GetTls().ProtoReflect()
		for _, name := range names {
			field := given.Descriptor().Fields().ByJSONName(name)
			if !given.Has(field) {
				continue
			}
			r.Warnf(r.at("spec.servers", i)+".tls."+name, "without effect: %s", why)
			if out == spec {
				out = proto.Clone(spec).(*networking.Gateway)
			}
			out.Servers[i].Tls.ProtoReflect().Clear(field)
		}
	}
	return out
}
