// Package ingress translates Kubernetes' Ingresses: which of them are the mesh's, what each says, and what all of them come to, in the model of
// Gateways and VirtualServices. It is pure. Rules of one host are joined whichever Ingress has them; what is not implemented is refused with
// its path.
package ingress

import (
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// anyHost stands for rules and certificates without a host.
const anyHost = "*"

// Ingress is what one object says, its names not yet looked up.
type Ingress struct {
	From    model.Name
	Rules   []Rule
	Default *Backend // nil: none
	TLS     []TLS
}

// Rule is the paths of one host. Without any, its requests go to the default backend.
type Rule struct {
	Host  string // "*": every host without rules
	Paths []Path
}

// Path is where the requests of a path go.
type Path struct {
	At      string // in the object
	Match   model.StringMatch
	Backend Backend
}

// Backend is a port of a Service, by name or number.
type Backend struct {
	At       string // in the object
	Service  string // FQDN
	PortName string
	Port     uint16
}

// TLS is a certificate, and the hosts whose clients are shown it.
type TLS struct {
	At     string // in the object
	Hosts  []string
	Secret string // namespace/name
}

// reader reads one object.
type reader struct{ fields.Reader }

// Read translates one object.
func Read(o *inputs.Ingress, mesh *model.Mesh) (*Ingress, []report.Issue) {
	r, out := &reader{fields.Read(o, mesh)}, &Ingress{From: fields.From(o)}
	if b := o.Spec.DefaultBackend; b != nil {
		backend := r.backend("spec.defaultBackend", b)
		out.Default = &backend
	} else if len(o.Spec.Rules) == 0 {
		r.Errorf("spec", "either defaultBackend or rules must be given")
	}
	for i := range o.Spec.TLS {
		r.tls(fmt.Sprintf("spec.tls[%d]", i), &o.Spec.TLS[i], out)
	}
	for i := range o.Spec.Rules {
		rule, at := &o.Spec.Rules[i], fmt.Sprintf("spec.rules[%d]", i)
		read := Rule{Host: r.host(at+".host", rule.Host)}
		if rule.HTTP != nil {
			for j := range rule.HTTP.Paths {
				p, at := &rule.HTTP.Paths[j], fmt.Sprintf("%s.http.paths[%d]", at, j)
				read.Paths = append(read.Paths, Path{At: at, Match: r.path(at, p), Backend: r.backend(at+".backend", &p.Backend)})
			}
		}
		out.Rules = append(out.Rules, read)
	}
	return out, r.Issues
}

// host reads a host: "*." stands for one label, nothing at all for every host.
func (r *reader) host(at, host string) string {
	if host == "" {
		return anyHost
	}
	host = strings.ToLower(host)
	if why := values.ValidHost(host, true); why != "" || host == anyHost || model.PartialWildcard(host) {
		r.Errorf(at, `%q: a DNS name expected, or "*." and one`, host)
	} else if _, ok := values.Address(host); ok {
		r.Errorf(at, "%q: a DNS name expected, not an address", host)
	}
	return host
}

// path reads which paths are meant. ImplementationSpecific is what it is in Istio: a prefix where it ends in ".*" or "/*", otherwise exact.
func (r *reader) path(at string, p *networkingv1.HTTPIngressPath) model.StringMatch {
	kind := networkingv1.PathTypeImplementationSpecific
	if p.PathType != nil {
		kind = *p.PathType
	}
	text, prefix := p.Path, kind == networkingv1.PathTypePrefix
	switch kind {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
	case networkingv1.PathTypeImplementationSpecific:
		if text == "" || text == "*" {
			text = "/*"
		}
		for _, tail := range []string{".*", "/*"} {
			if before, cut := strings.CutSuffix(text, tail); cut && !prefix {
				text, prefix = before, true
			}
		}
		if text == "" {
			text = "/"
		}
	default:
		r.Errorf(at+".pathType", "%q: Exact, Prefix or ImplementationSpecific expected", kind)
	}
	if !strings.HasPrefix(text, "/") {
		r.Errorf(at+".path", `%q: a path begins with "/"`, p.Path)
	}
	if !prefix {
		return model.StringMatch{Kind: model.MatchExact, Value: text}
	}
	if text = strings.TrimRight(text, "/"); text == "" { // whole segments: a slash at the end says nothing
		text = "/"
	}
	return model.StringMatch{Kind: model.MatchPathPrefix, Value: text}
}

func (r *reader) backend(at string, b *networkingv1.IngressBackend) Backend {
	if b.Resource != nil {
		r.Errorf(at+".resource", "not implemented by this version: a service expected")
		return Backend{}
	}
	if b.Service == nil || b.Service.Name == "" {
		r.Errorf(at+".service.name", "required")
		return Backend{}
	}
	out := Backend{At: at + ".service", Service: values.Host(b.Service.Name, r.Namespace, r.Mesh.ClusterDomain), PortName: b.Service.Port.Name}
	switch number := b.Service.Port.Number; {
	case out.PortName != "" && number != 0:
		r.Errorf(at+".service.port", "only one of name and number may be given")
	case out.PortName == "" && number == 0:
		r.Errorf(at+".service.port", "a name or a number is required")
	case out.PortName == "":
		out.Port = values.Port(&r.Log, at+".service.port.number", uint32(number))
	}
	return out
}

// tls reads a certificate of the Ingress's own namespace.
func (r *reader) tls(at string, t *networkingv1.IngressTLS, out *Ingress) {
	read := TLS{At: at, Secret: r.Namespace + "/" + t.SecretName}
	for i, h := range t.Hosts {
		read.Hosts = append(read.Hosts, r.host(fmt.Sprintf("%s.hosts[%d]", at, i), h))
	}
	if len(t.Hosts) == 0 {
		read.Hosts = []string{anyHost}
	}
	switch {
	case t.SecretName == "":
		r.Partialf(at+".secretName", "left out: without a certificate there is no HTTPS for these hosts")
		return
	case strings.Contains(t.SecretName, "/"):
		r.Errorf(at+".secretName", "%q: the name of a Secret in the Ingress's namespace expected", t.SecretName)
	}
	out.TLS = append(out.TLS, read)
}
