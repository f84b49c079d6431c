package compile

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/dialect"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/match"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// clientSocket reads how a cluster secures connections; nil is plaintext. An unchanged setting keeps its Handshaker.
func (b *builder) clientSocket(in *core.TransportSocket, by byName) (upstream.Handshaker, error) {
	if values.Word(string(in.GetTypedConfig().MessageName())) != "UpstreamTlsContext" {
		return nil, plaintext(in.GetTypedConfig())
	}
	context, err := values.Open("typed_config", in.GetTypedConfig(), &tlsv3.UpstreamTlsContext{})
	if err != nil {
		return nil, err
	}
	c := mtls.ClientConfig{SNI: context.GetSni(), AutoSNI: context.GetAutoHostSni() || by.sni, NameFromSNI: context.GetAutoSniSanValidation() || by.san}
	common := context.GetCommonTlsContext()
	c.ALPN = common.GetAlpnProtocols()
	if c.Params, err = params(common.GetTlsParams()); err != nil {
		return nil, values.Under("typed_config.common_tls_context", err)
	}
	certificates, err := b.certificates(common)
	if err != nil {
		return nil, values.Under("typed_config.common_tls_context", err)
	}
	if len(certificates) > 1 {
		return nil, values.Wrong("typed_config.common_tls_context.tls_certificate_sds_secret_configs", "more than one is not implemented for clusters")
	}
	if len(certificates) == 1 {
		c.Certificate = certificates[0]
	}
	server, given, err := b.validation(common)
	if err != nil {
		return nil, values.Under("typed_config.common_tls_context", err)
	}
	if len(server.Pins.Keys)+len(server.Pins.Certificates) > 0 {
		return nil, values.Wrong("typed_config.common_tls_context", "servers that are known by their certificate's hash are not implemented")
	}
	c.Trust = server.Trust
	c.Names, c.Domains = byDomain(server.Names)
	if !given {
		if c.NameFromSNI {
			return nil, values.Wrong("typed_config.common_tls_context", "the server's name is to be proven, and nothing judges certificates")
		}
		if c.Certificate == b.options.Workload && c.Certificate != nil {
			return nil, values.Wrong("typed_config.common_tls_context", "mesh TLS without a root that judges the server")
		}
		c.Trust = mtls.Trust{Nothing: true}
	}
	key := fmt.Sprint(by) + string(in.GetTypedConfig().GetValue())
	client := b.before.handshakers[key]
	if client == nil {
		client = mtls.NewClient(c)
	}
	b.needs.handshakers[key] = client
	return client, nil
}

// byDomain keeps apart the trust domains under which the endpoint's identity is accepted: prefixes that hold nothing but a domain. Envoy would accept every
// identity of these.
func byDomain(all []mtls.Name) (names []mtls.Name, domains []string) {
	for _, name := range all {
		c := name.Match.Config()
		domain, ok := strings.CutPrefix(c.Value, "spiffe://")
		ok = ok && c.Kind == match.Prefix && !c.IgnoreCase && (name.Type == mtls.AnyName || name.Type == mtls.URIName)
		if ok && len(domain) > 1 && strings.Index(domain, "/") == len(domain)-1 {
			domains = append(domains, c.Value)
			continue
		}
		names = append(names, name)
	}
	return names, domains
}

// plaintext accepts the transport sockets that secure nothing.
func plaintext(a *anypb.Any) error {
	if a == nil || values.Word(string(a.MessageName())) == "RawBuffer" {
		return nil
	}
	return values.Wrong("typed_config", "%s is not implemented here", a.MessageName())
}

// serverSocket reads how a filter chain accepts connections; nil is plaintext.
func (b *builder) serverSocket(in *core.TransportSocket) (config.ServerTLS, error) {
	if values.Word(string(in.GetTypedConfig().MessageName())) != "DownstreamTlsContext" {
		return nil, plaintext(in.GetTypedConfig())
	}
	context, err := values.Open("typed_config", in.GetTypedConfig(), &tlsv3.DownstreamTlsContext{})
	if err != nil {
		return nil, err
	}
	common := context.GetCommonTlsContext()
	var c mtls.ServerConfig
	if c.Params, err = params(common.GetTlsParams()); err != nil {
		return nil, values.Under("typed_config.common_tls_context", err)
	}
	// Metadata exchange, which a peer that negotiates it must speak, is not implemented.
	c.ALPN = slices.DeleteFunc(slices.Clone(common.GetAlpnProtocols()), func(p string) bool { return p == wire.ALPNPeerData })
	if c.Certificates, err = b.certificates(common); err != nil {
		return nil, values.Under("typed_config.common_tls_context", err)
	}
	if len(c.Certificates) == 0 {
		return nil, values.Wrong("typed_config.common_tls_context.tls_certificate_sds_secret_configs", "a server needs a certificate")
	}
	peer, given, err := b.validation(common)
	if err != nil {
		return nil, values.Under("typed_config.common_tls_context", err)
	}
	peer.Required = context.GetRequireClientCertificate().GetValue()
	switch {
	case given:
		if c.Peer = &peer; peer.Trust.Mesh == nil {
			c.Workload, c.Mesh, c.Domains = b.options.Workload, b.options.Mesh, b.domains
		}
	case peer.Required:
		return nil, values.Wrong("typed_config.common_tls_context", "client certificates are required and nothing judges them")
	}
	return mtls.NewServer(c), nil
}

// certificates reads the certificates to show.
func (b *builder) certificates(in *tlsv3.CommonTlsContext) ([]mtls.Certificate, error) {
	var out []mtls.Certificate
	for i, sds := range in.GetTlsCertificateSdsSecretConfigs() {
		switch sds.GetName() {
		case "":
			return nil, values.Wrong(fmt.Sprintf("tls_certificate_sds_secret_configs[%d].name", i), "it is empty")
		case wire.SecretWorkload:
			if b.options.Workload == nil {
				return nil, values.Wrong(fmt.Sprintf("tls_certificate_sds_secret_configs[%d].name", i), "this proxy has no workload certificate")
			}
			out = append(out, b.options.Workload)
		default:
			if files, ok := dialect.Agent(sds); !ok {
				out = append(out, b.secret(sds.GetName()))
			} else if files.Chain != "" {
				out = append(out, &mtls.Files{Chain: files.Chain, Key: files.Key})
			} else {
				return nil, values.Wrong(fmt.Sprintf("tls_certificate_sds_secret_configs[%d].name", i), "%q is no certificate", sds.GetName())
			}
		}
	}
	for i, c := range in.GetTlsCertificates() {
		files := &mtls.Files{Chain: c.GetCertificateChain().GetFilename(), Key: c.GetPrivateKey().GetFilename()}
		if files.Chain == "" || files.Key == "" {
			return nil, values.Wrong(fmt.Sprintf("tls_certificates[%d]", i), "only files are implemented: certificates that are sent come as secrets")
		}
		out = append(out, files)
	}
	return out, nil
}

func (b *builder) secret(name string) *mtls.Secret {
	b.needs.secrets[name] = true
	return b.options.Secrets.Slot(name)
}

// validation reads by what the other side is judged; given is whether there is anything.
func (b *builder) validation(in *tlsv3.CommonTlsContext) (peer mtls.Peer, given bool, err error) {
	var inline *tlsv3.CertificateValidationContext
	sds, field := in.GetValidationContextSdsSecretConfig(), "validation_context"
	switch v := in.GetValidationContextType().(type) {
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		inline, sds = v.CombinedValidationContext.GetDefaultValidationContext(), v.CombinedValidationContext.GetValidationContextSdsSecretConfig()
		field = "combined_validation_context.default_validation_context"
	case *tlsv3.CommonTlsContext_ValidationContext:
		inline = v.ValidationContext
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
	case nil:
		return peer, false, nil
	}
	if peer.Names, err = sans(inline); err == nil {
		peer.Pins, err = pins(inline)
	}
	if err != nil {
		return peer, false, values.Under(field, err)
	}
	if peer.Trust, given, err = b.trust(inline, sds, field); err != nil || given {
		return peer, given, err
	}
	if len(peer.Names)+len(peer.Pins.Keys)+len(peer.Pins.Certificates) > 0 {
		return peer, false, values.Wrong(field, "names or pins are required and nothing judges certificates")
	}
	return peer, false, nil
}

// trust reads who vouches for certificates; given is whether anybody does.
func (b *builder) trust(inline *tlsv3.CertificateValidationContext, secret *tlsv3.SdsSecretConfig, field string) (trust mtls.Trust, given bool, err error) {
	crl, sds := inline.GetCrl().GetFilename(), secret.GetName()
	files, local := dialect.Agent(secret)
	switch {
	case inline.GetCrl() != nil && crl == "":
		return trust, false, values.Wrong(field+".crl", "only a file is implemented here")
	case local && files.Chain != "":
		return trust, false, values.Wrong(field, "%q is no CA bundle", sds)
	case local && files.Roots == "" && crl == "":
		trust.System = true
	case local:
		trust.File = &mtls.File{Path: files.Roots, CRL: crl}
	case crl != "" && sds != "":
		return trust, false, values.Wrong(field+".crl", "beside a secret, it belongs into the secret")
	case sds == wire.SecretRoot:
		trust.Mesh = b.options.Mesh
	case sds != "":
		trust.Secret = b.secret(sds)
	case inline.GetTrustedCa().GetFilename() != "":
		trust.File = &mtls.File{Path: inline.GetTrustedCa().GetFilename(), CRL: crl}
	case inline.GetTrustedCa() != nil:
		return trust, false, values.Wrong(field, "only a file, the system's roots or a secret are implemented")
	case inline.GetSystemRootCerts() != nil && crl != "":
		trust.File = &mtls.File{CRL: crl}
	case inline.GetSystemRootCerts() != nil:
		trust.System = true
	case crl != "":
		return trust, false, values.Wrong(field+".crl", "nothing judges certificates")
	default:
		return trust, false, nil
	}
	return trust, true, nil
}

// pins reads which certificates alone are accepted.
func pins(in *tlsv3.CertificateValidationContext) (mtls.Pins, error) {
	var out mtls.Pins
	for i, text := range in.GetVerifyCertificateSpki() {
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) != sha256.Size {
			return out, values.Wrong(fmt.Sprintf("verify_certificate_spki[%d]", i), "%q is no SHA-256 in base64", text)
		}
		out.Keys = append(out.Keys, [sha256.Size]byte(sum))
	}
	for i, text := range in.GetVerifyCertificateHash() {
		sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return out, values.Wrong(fmt.Sprintf("verify_certificate_hash[%d]", i), "%q is no SHA-256 in hex", text)
		}
		out.Certificates = append(out.Certificates, [sha256.Size]byte(sum))
	}
	return out, nil
}

func sans(in *tlsv3.CertificateValidationContext) ([]mtls.Name, error) {
	var out []mtls.Name
	add := func(field string, kind mtls.NameType, m *matcher.StringMatcher) error {
		c, err := values.StringMatch(field, m)
		if err != nil {
			return err
		}
		compiled, err := match.New(c)
		if err != nil {
			return values.Wrong(field, "%w", err)
		}
		out = append(out, mtls.Name{Type: kind, Match: compiled})
		return nil
	}
	for i, m := range in.GetMatchTypedSubjectAltNames() {
		field := fmt.Sprintf("match_typed_subject_alt_names[%d]", i)
		kind, known := map[tlsv3.SubjectAltNameMatcher_SanType]mtls.NameType{tlsv3.SubjectAltNameMatcher_URI: mtls.URIName, tlsv3.SubjectAltNameMatcher_DNS: mtls.DNSName,
			tlsv3.SubjectAltNameMatcher_EMAIL: mtls.EmailName, tlsv3.SubjectAltNameMatcher_IP_ADDRESS: mtls.AddressName}[m.GetSanType()]
		if !known {
			return nil, values.Wrong(field+".san_type", "%s is not implemented", m.GetSanType())
		}
		if err := add(field+".matcher", kind, m.GetMatcher()); err != nil {
			return nil, err
		}
	}
	//lint:ignore SA1019 it is what meshes speak: its successor must know the type of a name
	for i, m := range in.GetMatchSubjectAltNames() {
		if err := add(fmt.Sprintf("match_subject_alt_names[%d]", i), mtls.AnyName, m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func params(in *tlsv3.TlsParameters) (mtls.Params, error) {
	versions := map[tlsv3.TlsParameters_TlsProtocol]uint16{
		tlsv3.TlsParameters_TLS_AUTO: 0, tlsv3.TlsParameters_TLSv1_0: tls.VersionTLS10, tlsv3.TlsParameters_TLSv1_1: tls.VersionTLS11,
		tlsv3.TlsParameters_TLSv1_2: tls.VersionTLS12, tlsv3.TlsParameters_TLSv1_3: tls.VersionTLS13,
	}
	out := mtls.Params{Min: versions[in.GetTlsMinimumProtocolVersion()], Max: versions[in.GetTlsMaximumProtocolVersion()]}
	suites, err := mtls.Suites(in.GetCipherSuites())
	if err != nil {
		return out, values.Wrong("tls_params.cipher_suites", "%w", err)
	}
	out.Suites = suites
	if out.Curves, err = mtls.Curves(in.GetEcdhCurves()); err != nil {
		return out, values.Wrong("tls_params.ecdh_curves", "%w", err)
	}
	return out, nil
}
