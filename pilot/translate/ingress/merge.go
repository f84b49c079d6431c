package ingress

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// GatewayName is the one Gateway of all Ingresses. No object has such a name.
const GatewayName = "Ingress"

// Merged is what all Ingresses of the mesh come to.
type Merged struct {
	Gateway  *model.Gateway          // nil: there are no Ingresses
	Virtuals []*model.VirtualService // one for each host, sorted by it
	Paths    map[model.IngressPath]model.Name
	Names    map[string]model.IngressTLSName
}

// ruled is a path of one Ingress.
type ruled struct {
	from model.Name
	path Path
}

// site is what the Ingresses say of one host.
type site struct {
	named     bool // by a rule
	owner     model.Name
	paths     []ruled
	otherwise *Backend // the default backend of the oldest Ingress that has rules for the host, and a default
	from      model.Name
}

// merger joins Ingresses.
type merger struct {
	mesh     *model.Mesh
	services func(host string) *model.Service
	sites    map[string]*site
	// standard is the default backend of the oldest Ingress with one: of every request that no rule is for.
	standard     *Backend
	standardFrom model.Name
}

// Merge joins Ingresses, the oldest first. Of two rules for the same path of a host, the older counts.
func Merge(list []*Ingress, mesh *model.Mesh, services func(host string) *model.Service) *Merged {
	m := &merger{mesh: mesh, services: services, sites: map[string]*site{}}
	out := &Merged{Paths: map[model.IngressPath]model.Name{}, Names: map[string]model.IngressTLSName{}}
	for _, in := range list {
		m.add(in, out.Paths)
	}
	if len(list) == 0 {
		return out
	}
	if m.standard != nil {
		m.site(anyHost, m.standardFrom)
	}
	out.Gateway = m.gateway(list, out.Names)
	for _, s := range m.sites {
		slices.SortStableFunc(s.paths, func(a, b ruled) int { return precedence(a.path.Match, b.path.Match) })
	}
	for _, host := range slices.Sorted(maps.Keys(m.sites)) {
		v := &model.VirtualService{From: m.sites[host].owner, Hosts: []string{host}, Export: model.Visibility{Public: true},
			Gateways: []string{out.Gateway.ID()}, Entire: true, HTTP: m.routes(host)}
		if len(v.HTTP) > 0 {
			out.Virtuals = append(out.Virtuals, v)
		}
	}
	return out
}

// precedence orders paths as Kubernetes says: the longest first, of equal length the exact one.
func precedence(a, b model.StringMatch) int {
	return cmp.Or(cmp.Compare(len(b.Value), len(a.Value)), cmp.Compare(a.Kind, b.Kind))
}

func (m *merger) site(host string, owner model.Name) *site {
	if m.sites[host] == nil {
		m.sites[host] = &site{owner: owner}
	}
	return m.sites[host]
}

// add adds the rules of an Ingress that is younger than those before.
func (m *merger) add(in *Ingress, owners map[model.IngressPath]model.Name) {
	for _, rule := range in.Rules {
		s := m.site(rule.Host, in.From)
		s.named = true
		if s.otherwise == nil {
			s.otherwise, s.from = in.Default, in.From
		}
		for _, p := range rule.Paths {
			at := model.IngressPath{Host: rule.Host, Path: p.Match}
			if _, taken := owners[at]; !taken {
				owners[at] = in.From
				s.paths = append(s.paths, ruled{in.From, p})
			}
		}
	}
	if m.standard == nil {
		m.standard, m.standardFrom = in.Default, in.From
	}
}

// gateway has a server for plaintext, and one for each certificate with the hosts that no older one has.
func (m *merger) gateway(list []*Ingress, names map[string]model.IngressTLSName) *model.Gateway {
	out := &model.Gateway{From: model.Name{Namespace: m.mesh.RootNamespace, Name: GatewayName}, Selector: m.mesh.Ingress.Selector}
	out.Servers = []*model.Server{{Port: 80, PortName: "http-80-ingress", Protocol: model.HTTP, Hosts: serverHosts([]string{anyHost})}}
	for _, in := range list {
		for _, t := range in.TLS {
			var left []string
			for _, h := range t.Hosts {
				if _, taken := names[h]; taken {
					continue
				}
				names[h] = model.IngressTLSName{Owner: in.From, Secret: t.Secret}
				left = append(left, h)
				m.site(h, in.From)
			}
			if len(left) == 0 {
				continue
			}
			out.Servers = append(out.Servers, &model.Server{Port: 443, PortName: portName(in.From, t.At), Protocol: model.HTTPS, Hosts: serverHosts(left),
				TLS: &model.ServerTLS{Certificates: []string{t.Secret}}})
		}
	}
	return out
}

// portName tells the servers of all Ingresses apart.
func portName(of model.Name, at string) string {
	index := strings.Trim(strings.TrimPrefix(at, "spec.tls"), "[]")
	return "https-443-ingress-" + of.Name + "-" + of.Namespace + "-" + index
}

func serverHosts(names []string) []model.GatewayHost {
	out := make([]model.GatewayHost, 0, len(names))
	for _, n := range names {
		out = append(out, model.GatewayHost{Namespace: "*", Host: n})
	}
	return out
}

// routes are all rules for the requests that name a host: its own; where there are none, those of the wildcard or of every host that it is
// part of; and a default backend.
func (m *merger) routes(host string) []*model.HTTPRoute {
	if strings.HasPrefix(host, "*.") {
		return m.wildcard(host)
	}
	s := m.sites[host]
	if _, parent, ok := strings.Cut(host, "."); ok && !s.named {
		if wide := m.sites["*."+parent]; wide != nil && wide.named {
			s = wide
		}
	}
	if every := m.sites[anyHost]; !s.named && every != nil {
		s = every
	}
	return m.ofSite(s, nil)
}

// wildcard has the rules for requests whose host has one label in place of the asterisk, and then those for every host, since a proxy comes
// here with more labels too.
func (m *merger) wildcard(host string) []*model.HTTPRoute {
	var every []*model.HTTPRoute
	if s := m.sites[anyHost]; s != nil {
		every = m.ofSite(s, nil)
	}
	s := m.sites[host]
	if !s.named {
		return every
	}
	one := &model.StringMatch{Kind: model.MatchRegex, Value: `(?i)[^.:]+` + regexp.QuoteMeta(host[1:]) + `(:[0-9]+)?`}
	out := m.ofSite(s, one)
	if len(every) > 0 && (len(out) == 0 || out[len(out)-1].Matches[0].Path != nil) { // those are not for these hosts
		out = append(out, &model.HTTPRoute{Name: routeName(s.owner), Matches: []*model.HTTPMatch{{Authority: one}}, Direct: &model.DirectResponse{Status: 404}})
	}
	return append(out, every...)
}

// ofSite are the rules of a host and what takes all else. authority limits them to some of the hosts.
func (m *merger) ofSite(s *site, authority *model.StringMatch) []*model.HTTPRoute {
	var out []*model.HTTPRoute
	for _, p := range s.paths {
		match := &model.HTTPMatch{Authority: authority}
		if path := p.path.Match; path.Kind != model.MatchPathPrefix || path.Value != "/" {
			match.Path = &path
		}
		out = append(out, m.route(p.from, match, p.path.Backend))
		if match.Path == nil {
			return out // it takes all that is left
		}
	}
	switch {
	case s.otherwise != nil:
		return append(out, m.route(s.from, &model.HTTPMatch{Authority: authority}, *s.otherwise))
	case m.standard != nil:
		return append(out, m.route(m.standardFrom, &model.HTTPMatch{Authority: authority}, *m.standard))
	}
	return out
}

// route sends requests to a port of a Service. Where there is none of that name, they are answered 503 rather than sent elsewhere.
func (m *merger) route(from model.Name, match *model.HTTPMatch, b Backend) *model.HTTPRoute {
	out := &model.HTTPRoute{Name: routeName(from), Matches: []*model.HTTPMatch{match}}
	port := b.Number(m.services(b.Service))
	if port == 0 {
		out.Direct = &model.DirectResponse{Status: 503}
		return out
	}
	out.Destinations = []*model.Destination{{Host: b.Service, Port: port, Weight: 1}}
	return out
}

// routeName is what the access log calls the routes of an Ingress.
func routeName(from model.Name) string { return from.String() }

// Number is the number of the backend's port at its Service, which may be nil; 0: there is none.
func (b Backend) Number(svc *model.Service) uint16 {
	if b.PortName == "" {
		return b.Port
	}
	if svc == nil {
		return 0
	}
	for _, p := range svc.Ports {
		if p.Name == b.PortName {
			return p.Number
		}
	}
	return 0
}
