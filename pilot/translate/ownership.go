package translate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// stranger returns the Service of another namespace that a host of a rule means or, for a wildcard, the first of those that it includes; nil: there
// is none. The root namespace speaks for the whole mesh.
func stranger(services map[string]*model.Service, mesh *model.Mesh, namespace, host string) *model.Service {
	foreign := func(s *model.Service) bool { return s != nil && !s.Entry && s.Namespace != namespace }
	switch {
	case namespace == mesh.RootNamespace:
		return nil
	case !strings.HasPrefix(host, "*"):
		if s := services[host]; foreign(s) {
			return s
		}
		return nil
	case !mayIncludeServices(host, mesh):
		return nil
	}
	var first *model.Service
	for _, s := range services {
		if foreign(s) && model.HostIncludes(host, s.Host) && (first == nil || s.Host < first.Host) {
			first = s
		}
	}
	return first
}

// mayIncludeServices reports whether a wildcard can include the host of any Service.
func mayIncludeServices(wildcard string, mesh *model.Mesh) bool {
	domain, suffix := ".svc."+mesh.ClusterDomain, wildcard[1:]
	return strings.HasSuffix(domain, suffix) || strings.HasSuffix(suffix, domain)
}

// forSidecars reports whether a VirtualService is for sidecars.
func forSidecars(gateways []string) bool {
	return len(gateways) == 0 || slices.Contains(gateways, model.MeshGateway)
}

// half is a VirtualService as gateways or as sidecars obey it, where these differ.
type half struct {
	from     model.Name
	sidecars bool
}

// obeyed is what is left of a VirtualService that is for sidecars where hosts are their namespaces' alone: for sidecars without the Services of others, for
// gateways all.
func (r *run) obeyed(v *model.VirtualService) []*model.VirtualService {
	own := slices.DeleteFunc(slices.Clone(v.Hosts), func(host string) bool { return stranger(r.owned, r.mesh, v.From.Namespace, host) != nil })
	if len(own) == len(v.Hosts) {
		return []*model.VirtualService{v}
	}
	var out []*model.VirtualService
	if others := slices.DeleteFunc(slices.Clone(v.Gateways), func(g string) bool { return g == model.MeshGateway }); len(others) > 0 {
		edge := *v
		edge.Gateways = others
		out = append(out, r.memo.halves.intern(half{v.From, false}, &edge))
	}
	if len(own) > 0 {
		inner := *v
		inner.Hosts, inner.Gateways = own, []string{model.MeshGateway}
		out = append(out, r.memo.halves.intern(half{v.From, true}, &inner))
	}
	return out
}

// sparing is a DestinationRule that sidecars do not obey for Services of other namespaces, where its host means any.
func (r *run) sparing(d *model.DestinationRule) *model.DestinationRule {
	if stranger(r.owned, r.mesh, d.From[0].Namespace, d.Host) == nil {
		return d
	}
	out := *d
	out.SparesServices = true
	return r.memo.sparing.intern(d.From[0], &out)
}

// spared is sparing for a list, which stays as it is.
func (r *run) spared(list []*model.DestinationRule) []*model.DestinationRule {
	if r.owned == nil {
		return list
	}
	out := make([]*model.DestinationRule, 0, len(list))
	for _, d := range list {
		out = append(out, r.sparing(d))
	}
	return out
}

// serviceOwners are the Services by host, where hosts are their namespaces' alone.
func (r *run) serviceOwners() {
	if !r.mesh.StrictHosts {
		return
	}
	r.owned = make(map[string]*model.Service, len(r.snap.Services))
	for _, s := range r.snap.Services {
		if r.owned[s.Host] == nil {
			r.owned[s.Host] = s
		}
	}
}

// strange is a host of a rule that is, or includes, a Service of another namespace.
type strange struct {
	path    string
	host    string
	service *model.Service
}

// strangers are such hosts of a rule that sidecars are to obey.
func (c *Checker) strangers(o inputs.Object) []strange {
	var out []strange
	add := func(host string, path func() string) {
		host = c.host(host, o.GetNamespace())
		if s := stranger(c.services, c.mesh, o.GetNamespace(), host); s != nil {
			out = append(out, strange{path(), host, s})
		}
	}
	switch o := o.(type) {
	case *inputs.VirtualService:
		if forSidecars(o.Spec.Gateways) {
			for i, h := range o.Spec.Hosts {
				add(h, func() string { return indexed("spec.hosts", i) })
			}
		}
	case *inputs.DestinationRule:
		add(o.Spec.Host, func() string { return "spec.host" })
	}
	return out
}

// ownership warns of hosts that are Services of other namespaces, for which the rule counts or, where hosts are their namespaces' alone, does not.
func (c *Checker) ownership(log *report.Log, o inputs.Object, strangers []strange) {
	for _, s := range strangers {
		what := "is"
		if s.host != s.service.Host {
			what = "includes"
		}
		what = fmt.Sprintf("%s %s Service %s of another namespace", s.host, what, s.service.From)
		switch _, policy := o.(*inputs.DestinationRule); {
		case c.mesh.StrictHosts && policy && s.host != s.service.Host:
			log.Partialf(s.path, "not for sidecars that reach Services of other namespaces: %s, and rules for a Service are its own namespace's (%s)", what, wire.StrictOwnershipKey)
		case c.mesh.StrictHosts:
			log.Partialf(s.path, "not for sidecars: %s, and rules for a Service are its own namespace's (%s)", what, wire.StrictOwnershipKey)
		case policy:
			log.Warnf(s.path, "%s: clients of namespace %s obey this rule instead of that namespace's", what, o.GetNamespace())
		default:
			log.Warnf(s.path, "%s: clients that see this rule obey it there", what)
		}
	}
}

// onServices puts into the report, for their owners to read, which Services have rules of other namespaces.
func (r *run) onServices() {
	if r.mesh.StrictHosts {
		return
	}
	said := map[model.Name][]report.Issue{}
	for _, j := range r.judged {
		for _, s := range j.kept.strange {
			if s.host == s.service.Host { // a wildcard includes too many to tell each
				said[s.service.From] = append(said[s.service.From], report.Issue{Severity: report.Warning, Reason: fmt.Sprintf("%s, of another namespace, has rules for this Service", RefOf(j.object))})
			}
		}
	}
	if len(said) == 0 {
		return
	}
	for i, e := range r.rep.Entries {
		if name := (model.Name{Namespace: e.Ref.Namespace, Name: e.Ref.Name}); e.Ref.Kind == "Service" && len(said[name]) > 0 {
			r.rep.Entries[i] = extend(e, said[name])
			delete(said, name)
		}
	}
	for _, s := range r.in.Services {
		if issues := said[nameOf(s)]; len(issues) > 0 {
			r.add(aboutService(s, issues))
		}
	}
}

// aboutService makes the report entry of a Service.
func aboutService(s *corev1.Service, issues []report.Issue) *report.Entry {
	e := report.NewEntry(report.Ref{Kind: "Service", Namespace: s.Namespace, Name: s.Name}, s.Generation, false, issues)
	e.UID = string(s.UID)
	return e
}
