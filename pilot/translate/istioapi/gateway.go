package istioapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var gatewayFields = fields.New(
	"selector",
	"servers.{port.{number,protocol,name},bind,hosts,name}",
	"servers.tls.{httpsRedirect,mode,credentialName,credentialNames,caCertCredentialName,subjectAltNames,verifyCertificateSpki,verifyCertificateHash,minProtocolVersion,maxProtocolVersion,cipherSuites}",
)

// ReadGateway translates one object.
func ReadGateway(o *inputs.Gateway, mesh *model.Mesh) (*model.Gateway, []report.Issue) {
	r := &reader{Reader: fields.Read(o, mesh)}
	spec := r.effective(o.Spec)
	gatewayFields.Check(spec, "spec", &r.Log)
	out := &model.Gateway{From: fields.From(o), Selector: model.Selector{}}
	if s := values.Selector(&r.Log, "spec.selector", spec.Selector); s != nil {
		out.Selector = s
	}
	if len(spec.Servers) == 0 {
		r.Errorf("spec.servers", "required")
	}
	for i, s := range spec.Servers {
		path := r.at("spec.servers", i)
		server := r.server(path, s)
		if slices.ContainsFunc(out.Servers, func(o *model.Server) bool { return o.PortName == server.PortName }) {
			r.Errorf(path+".port.name", "%q: another server's port has this name", server.PortName)
		}
		out.Servers = append(out.Servers, server)
	}
	return out, r.Issues
}

func (r *reader) server(path string, s *networking.Server) *model.Server {
	bind, ok := values.Address(s.Bind)
	out := &model.Server{Name: s.Name, Bind: bind}
	if s.Bind != "" && !ok {
		r.Errorf(path+".bind", "%q: an address expected; unix sockets are not implemented by this version", s.Bind)
	}
	if p := s.Port; p == nil {
		r.Errorf(path+".port", "required")
	} else {
		out.Port, out.PortName = values.Port(&r.Log, path+".port.number", p.Number), p.Name
		if p.Name == "" {
			r.Errorf(path+".port.name", "required")
		}
		protocol, ok := values.Protocol(p.Protocol)
		if !ok || protocol == model.UDP || protocol == model.MySQL || protocol == model.Redis {
			r.Errorf(path+".port.protocol", "%q: HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS expected", p.Protocol)
		}
		out.Protocol = protocol
	}
	if len(s.Hosts) == 0 {
		r.Errorf(path+".hosts", "required")
	}
	for i, h := range s.Hosts {
		at := r.at(path+".hosts", i)
		host := r.gatewayHost(at, h)
		if out.Protocol.IsTLS() && model.PartialWildcard(host.Host) {
			r.Errorf(at, "%q: %s", h, values.ServerName(host.Host))
		}
		out.Hosts = append(out.Hosts, host)
	}
	r.serverTLS(path, s, out)
	return out
}

// gatewayHost reads "namespace/dnsName". Without a namespace, every namespace may attach.
func (r *reader) gatewayHost(path, h string) model.GatewayHost {
	namespace, host, ok := strings.Cut(h, "/")
	if !ok {
		namespace, host = "*", h
	}
	switch {
	case namespace == ".":
		namespace = r.Namespace
	case namespace != "*" && values.ValidHost(namespace, false) != "":
		r.Errorf(path, "%q is not a namespace", namespace)
	}
	host = strings.ToLower(host)
	if why := values.ValidHost(host, true); why != "" {
		r.Errorf(path, "%q: %s", h, why)
	}
	return model.GatewayHost{Namespace: namespace, Host: host}
}

// serverTLS reads the tls block, which protocols over TLS need and others, but for a redirect, must not have.
func (r *reader) serverTLS(path string, s *networking.Server, out *model.Server) {
	t, overTLS := s.Tls, out.Protocol.IsTLS()
	switch {
	case t == nil && overTLS:
		r.Errorf(path+".tls", "required for protocol %s", s.GetPort().GetProtocol())
		return
	case t == nil:
		return
	case !overTLS:
		out.HTTPSRedirect = t.HttpsRedirect
		switch rest := (&networking.ServerTLSSettings{HttpsRedirect: t.HttpsRedirect}); {
		case t.HttpsRedirect && !out.Protocol.IsHTTP():
			r.Errorf(path+".tls.httpsRedirect", "only HTTP requests can be redirected")
		case t.String() != rest.String():
			r.Errorf(path+".tls", "protocol %s has no TLS; only httpsRedirect may be given", s.GetPort().GetProtocol())
		}
		return
	}
	if t.HttpsRedirect {
		r.Warnf(path+".tls.httpsRedirect", "without effect: who comes to this server speaks TLS already")
	}
	r.serverMode(path+".tls", t, out)
}

// serverParameters reads what may be agreed on with clients.
func (r *reader) serverParameters(path string, t *networking.ServerTLSSettings) *model.ServerTLS {
	out := &model.ServerTLS{Ciphers: t.CipherSuites,
		MinVersion: r.tlsVersion(path+".minProtocolVersion", t.MinProtocolVersion), MaxVersion: r.tlsVersion(path+".maxProtocolVersion", t.MaxProtocolVersion)}
	if out.MinVersion == "1.3" && out.MaxVersion == "1.2" {
		r.Errorf(path+".minProtocolVersion", "above maxProtocolVersion")
	}
	for i, c := range t.CipherSuites {
		if !values.CipherSuite(c) {
			r.Errorf(r.at(path+".cipherSuites", i), "%q: not a cipher suite that this version implements", c)
		}
	}
	return out
}

func (r *reader) serverMode(path string, t *networking.ServerTLSSettings, out *model.Server) {
	var mode model.ServerTLSMode
	credential, verifies, ends := true, false, true
	switch t.Mode {
	case networking.ServerTLSSettings_SIMPLE:
		mode = model.ServerSimple
	case networking.ServerTLSSettings_MUTUAL:
		mode, verifies = model.ServerMutual, true
	case networking.ServerTLSSettings_OPTIONAL_MUTUAL:
		mode, verifies = model.ServerOptionalMutual, true
	case networking.ServerTLSSettings_PASSTHROUGH:
		mode, credential, ends = model.ServerPassthrough, false, false
	case networking.ServerTLSSettings_AUTO_PASSTHROUGH:
		mode, credential, ends = model.ServerAutoPassthrough, false, false
	case networking.ServerTLSSettings_ISTIO_MUTUAL:
		mode, credential, verifies = model.ServerIstioMutual, false, true
	default:
		r.Errorf(path+".mode", "%s: not implemented by this version", t.Mode)
	}
	if out.TLS = (&model.ServerTLS{}); ends {
		out.TLS = r.serverParameters(path, t)
		out.TLS.Certificates, out.TLS.SANs = t.CredentialNames, t.SubjectAltNames
		r.credentials(path, t, credential, out.TLS)
	}
	out.TLS.Mode = mode
	if len(t.SubjectAltNames) > 0 && !verifies {
		r.Errorf(path+".subjectAltNames", "mode %s asks for no client certificate", t.Mode)
	}
	r.authority(path, t, credential && verifies, out.TLS)
}

// credentials reads which Secrets hold the server's certificates; wanted: it has some of its own.
func (r *reader) credentials(path string, t *networking.ServerTLSSettings, wanted bool, out *model.ServerTLS) {
	given := t.CredentialName != "" || len(t.CredentialNames) > 0
	switch {
	case wanted && !given:
		r.Errorf(path+".credentialName", "required for mode %s", t.Mode)
	case !wanted && given:
		r.Errorf(path+".credentialName", "mode %s has no use for it", t.Mode)
	case t.CredentialName != "" && len(t.CredentialNames) > 0:
		r.Errorf(path+".credentialNames", "only one of credentialName and credentialNames may be given")
	case len(t.CredentialNames) > maxCertificates:
		r.Errorf(path+".credentialNames", "%d names: at most %d, one for each kind of key", len(t.CredentialNames), maxCertificates)
	case slices.Contains(t.CredentialNames, ""):
		r.Errorf(path+".credentialNames", "an empty name")
	}
	for _, name := range append([]string{t.CredentialName, t.CaCertCredentialName}, t.CredentialNames...) {
		r.secretName(path, name)
	}
	if t.CredentialName != "" {
		out.Certificates = []string{t.CredentialName}
	}
}

// secretName refuses a Secret of another namespace: only what an Ingress of that namespace names leaves it.
func (r *reader) secretName(path, name string) {
	if strings.Contains(name, "/") {
		r.Errorf(path, "%q: the name of a Secret in the gateway's namespace expected", name)
	}
}

// maxCertificates is how many certificates a server may have.
const maxCertificates = 2

// authority reads by what client certificates are judged, beside their names; asked: this server judges them by a CA of its own.
func (r *reader) authority(path string, t *networking.ServerTLSSettings, asked bool, out *model.ServerTLS) {
	if !asked {
		return
	}
	out.Authority = t.CaCertCredentialName
	if out.Authority == "" && len(out.Certificates) > 0 {
		out.Authority = out.Certificates[0]
	}
	r.pins(path, t, out)
}

// pins reads which client certificates alone are accepted.
func (r *reader) pins(path string, t *networking.ServerTLSSettings, out *model.ServerTLS) {
	for i, text := range t.VerifyCertificateSpki {
		if sum, err := base64.StdEncoding.DecodeString(text); err != nil || len(sum) != sha256.Size {
			r.Errorf(r.at(path+".verifyCertificateSpki", i), "%q: the SHA-256 of a public key in base64 expected", text)
		}
	}
	for i, text := range t.VerifyCertificateHash {
		if sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", "")); err != nil || len(sum) != sha256.Size {
			r.Errorf(r.at(path+".verifyCertificateHash", i), "%q: the SHA-256 of a certificate in hex expected", text)
		}
	}
	out.SPKIs, out.Hashes = t.VerifyCertificateSpki, t.VerifyCertificateHash
}

func (r *reader) tlsVersion(path string, v networking.ServerTLSSettings_TLSProtocol) string {
	switch v {
	case networking.ServerTLSSettings_TLS_AUTO:
		return ""
	case networking.ServerTLSSettings_TLSV1_2:
		return "1.2"
	case networking.ServerTLSSettings_TLSV1_3:
		return "1.3"
	}
	r.Errorf(path, "%s: not implemented by this version", v)
	return ""
}
