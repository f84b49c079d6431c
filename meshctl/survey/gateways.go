package survey

import (
	"crypto/tls"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// gateways tells of Gateways that no pod serves, of ports that no Service leads to, and of certificates.
func (s *survey) gateways() {
	written := map[model.Name]bool{}
	for _, g := range s.in.Gateways {
		written[nameOf(g)] = true
	}
	for i, g := range s.snap.Gateways {
		if !written[g.From] {
			continue // made of Ingresses: there is no such object
		}
		s.sharesCertificates(g, s.snap.Gateways[:i])
		if len(s.in.Pods) == 0 {
			continue
		}
		var pods []*corev1.Pod
		for _, p := range s.in.Pods {
			if g.Selector.Matches(s.workload(p).Labels) {
				pods = append(pods, p)
			}
		}
		if len(pods) == 0 && s.unplaced(g.Selector) {
			continue
		}
		if len(pods) == 0 {
			s.tell(about("Gateway", g.From), report.NotFound, "spec.selector", "no pod has these labels")
			continue
		}
		for j, server := range g.Servers {
			path := fmt.Sprintf("spec.servers[%d]", j)
			s.exposed(g, path, server, pods)
			s.credentials(g, path, server, pods)
		}
	}
}

// exposed tells of a port that no Service of the gateway's pods has. Where no Service selects them, they are reached in some other way.
func (s *survey) exposed(g *model.Gateway, path string, server *model.Server, pods []*corev1.Pod) {
	selected := false
	for _, svc := range s.snap.Services {
		leads := func(p *corev1.Pod) bool { return p.Namespace == svc.Namespace && svc.Selects(s.workload(p)) }
		if svc.Selector == nil || !slices.ContainsFunc(pods, leads) {
			continue
		}
		selected = true
		if svc.Port(server.Port) != nil {
			return
		}
	}
	if selected {
		s.tell(about("Gateway", g.From), report.GatewayPortNotExposed, path+".port.number", "no Service of the gateway's pods has port %d", server.Port)
	}
}

// credentials tells of Secrets that are missing where the gateway's pods look for them, or that hold no certificate.
func (s *survey) credentials(g *model.Gateway, path string, server *model.Server, pods []*corev1.Pod) {
	if server.TLS == nil || s.from.Secrets == nil {
		return
	}
	seen := map[string]bool{}
	for _, p := range pods {
		if seen[p.Namespace] {
			continue
		}
		seen[p.Namespace] = true
		for _, name := range server.TLS.Certificates {
			s.credential(about("Gateway", g.From), path+".tls.credentialName", model.Name{Namespace: p.Namespace, Name: name})
		}
	}
}

// ingresses tells the same of the Secrets of the mesh's Ingresses.
func (s *survey) ingresses() {
	if s.from.Secrets == nil {
		return
	}
	shown := map[model.IngressTLSName]bool{}
	for _, name := range s.snap.Ingress.Names {
		shown[name] = true
	}
	for _, o := range s.in.Ingresses {
		for i, t := range o.Spec.TLS {
			at := model.Name{Namespace: o.Namespace, Name: t.SecretName}
			if shown[model.IngressTLSName{Owner: nameOf(o), Secret: at.String()}] {
				s.credential(about("Ingress", nameOf(o)), fmt.Sprintf("spec.tls[%d].secretName", i), at)
			}
		}
	}
}

func (s *survey) credential(ref report.Ref, path string, at model.Name) {
	secret, known := s.from.Secrets(at.Namespace, at.Name)
	switch {
	case !known:
	case secret == nil:
		s.tell(ref, report.NotFound, path, "there is no Secret %s: clients are shown no certificate", at)
	default:
		if _, err := tls.X509KeyPair(pick(secret, "tls.crt", "cert"), pick(secret, "tls.key", "key")); err != nil {
			s.tell(ref, report.InvalidCredential, path, "Secret %s holds no certificate with its key: %v", at, err)
		}
	}
}

// pick reads a Secret's value under either key.
func pick(secret *corev1.Secret, first, second string) []byte {
	for _, key := range []string{first, second} {
		if value := secret.Data[key]; len(value) > 0 {
			return value
		}
		if value := secret.StringData[key]; value != "" {
			return []byte(value)
		}
	}
	return nil
}

// sharesCertificates tells of certificates that an older Gateway of the same pods shows, too: with HTTP/2, clients use one connection for all names of a
// certificate.
func (s *survey) sharesCertificates(g *model.Gateway, older []*model.Gateway) {
	for _, o := range older {
		if !o.Selector.Matches(map[string]string(g.Selector)) && !g.Selector.Matches(map[string]string(o.Selector)) {
			continue
		}
		for i, server := range g.Servers {
			if server.TLS == nil {
				continue
			}
			for _, name := range server.TLS.Certificates {
				if shows(o, name) {
					s.tell(about("Gateway", g.From), report.SharedCertificate, fmt.Sprintf("spec.servers[%d].tls.credentialName", i),
						"%s shows the certificate %s, too: clients with HTTP/2 may send requests for the one on connections to the other, and are answered 421", o.From, name)
				}
			}
		}
	}
}

func shows(g *model.Gateway, certificate string) bool {
	return slices.ContainsFunc(g.Servers, func(s *model.Server) bool { return s.TLS != nil && slices.Contains(s.TLS.Certificates, certificate) })
}
