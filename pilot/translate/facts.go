package translate

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// facts are what objects may refer to, by host. They are immutable.
type facts struct {
	mesh     *model.Mesh
	services map[string]*model.Service           // a name inside a wildcard is no host of its own
	rules    map[string][]*model.DestinationRule // for hosts that are no wildcards
	wild     []*model.DestinationRule            // for wildcards
	virtuals map[string][]*model.VirtualService  // of sidecars
	gateways map[string]*model.Gateway           // by namespace/name
	// number counts the facts of a Memo. changed are the hosts about which they say something else than those of the number before; nil: that may be
	// any.
	number  uint64
	changed map[string]bool
}

// newFacts indexes a snapshot.
func newFacts(s *model.Snapshot, number uint64) *facts {
	f := &facts{mesh: s.Mesh, gateways: make(map[string]*model.Gateway, len(s.Gateways)), number: number}
	for _, g := range s.Gateways {
		f.gateways[g.ID()] = g
	}
	f.fill(s, nil)
	return f
}

// fill adds what a snapshot has to say about hosts of which there is nothing yet; only: about these, and not about wildcards; nil: all.
func (f *facts) fill(s *model.Snapshot, only map[string]bool) {
	about := func(host string) bool { return only == nil || only[host] }
	if f.services == nil {
		f.services = make(map[string]*model.Service, len(s.Services))
		f.rules, f.virtuals = make(map[string][]*model.DestinationRule, ruleCount(s)), make(map[string][]*model.VirtualService, len(s.VirtualServices))
	}
	for _, svc := range s.Services {
		if about(svc.Host) && f.services[svc.Host] == nil {
			f.services[svc.Host] = svc
		}
	}
	for _, list := range s.DestinationRules {
		for _, rule := range list {
			switch {
			case !about(rule.Host):
			case isWild(rule.Host):
				if only == nil {
					f.wild = append(f.wild, rule)
				}
			default:
				f.rules[rule.Host] = append(f.rules[rule.Host], rule)
			}
		}
	}
	for _, v := range s.VirtualServices {
		if !slices.Contains(v.Gateways, model.MeshGateway) {
			continue
		}
		for _, h := range v.Hosts {
			if about(h) {
				f.virtuals[h] = append(f.virtuals[h], v)
			}
		}
	}
}

// ruleCount counts the rules of a snapshot.
func ruleCount(s *model.Snapshot) int {
	n := 0
	for _, list := range s.DestinationRules {
		n += len(list)
	}
	return n
}

func isWild(host string) bool { return strings.HasPrefix(host, "*") }

// maxChanged is how many hosts may have changed for facts to be amended instead of made anew.
const maxChanged = 256

// next are the facts of the next snapshot.
func (f *facts) next(was, s *model.Snapshot) *facts {
	changed, wild := map[string]bool{}, false
	differing(was.Services, s.Services, func(svc *model.Service) { changed[svc.Host] = true })
	differing(was.VirtualServices, s.VirtualServices, func(v *model.VirtualService) {
		for _, h := range v.Hosts {
			changed[h] = true
		}
	})
	rule := func(r *model.DestinationRule) { changed[r.Host], wild = true, wild || isWild(r.Host) }
	for namespace, list := range s.DestinationRules {
		differing(was.DestinationRules[namespace], list, rule)
	}
	for namespace, list := range was.DestinationRules {
		if s.DestinationRules[namespace] == nil {
			differing(list, nil, rule)
		}
	}
	switch { // rules for wildcards are about any host
	case f.mesh != s.Mesh || !slices.Equal(was.Gateways, s.Gateways) || wild || len(changed) > maxChanged:
		return newFacts(s, f.number+1)
	case len(changed) == 0:
		return f
	}
	next := &facts{mesh: f.mesh, gateways: f.gateways, wild: f.wild, number: f.number + 1, changed: changed,
		services: maps.Clone(f.services), rules: maps.Clone(f.rules), virtuals: maps.Clone(f.virtuals)}
	for h := range changed {
		delete(next.services, h)
		delete(next.rules, h)
		delete(next.virtuals, h)
	}
	next.fill(s, changed)
	return next
}

// stillHold reports whether what was said of an object by earlier facts follows from these, too.
func (f *facts) stillHold(k *kept) bool {
	if k.number == f.number {
		return true
	}
	return k.number == f.number-1 && f.changed != nil && k.number > 0 && !slices.ContainsFunc(k.hosts, f.changedAbout)
}

// changedAbout reports whether something else is said about a host, or about one that a wildcard includes.
func (f *facts) changedAbout(host string) bool {
	if f.changed[host] || !isWild(host) {
		return f.changed[host]
	}
	for h := range f.changed {
		if model.HostIncludes(host, h) {
			return true
		}
	}
	return false
}

// hostsOf are the hosts that an object looks at.
func (f *facts) hostsOf(o inputs.Object) []string {
	var out []string
	add := func(host string) {
		if host == "" {
			return
		}
		host = f.host(host, o.GetNamespace())
		if !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	switch o := o.(type) {
	case *inputs.VirtualService:
		for _, h := range o.Spec.Hosts {
			add(h)
		}
		destinations(o.Spec, func(d *networking.Destination) { add(d.GetHost()) })
	case *inputs.DestinationRule:
		add(o.Spec.Host)
	case *inputs.ServiceEntry:
		for _, h := range o.Spec.Hosts {
			out = append(out, strings.ToLower(h))
		}
	}
	return out
}

// destinations visits all that a VirtualService sends anything to.
func destinations(v *networking.VirtualService, visit func(*networking.Destination)) {
	for _, h := range v.Http {
		for _, d := range h.Route {
			visit(d.GetDestination())
		}
		visit(h.Mirror)
		for _, m := range h.Mirrors {
			visit(m.GetDestination())
		}
	}
	for _, t := range v.Tls {
		for _, d := range t.Route {
			visit(d.GetDestination())
		}
	}
	for _, t := range v.Tcp {
		for _, d := range t.Route {
			visit(d.GetDestination())
		}
	}
}

// host is values.Host, with one text for all who mean a host that is known.
func (f *facts) host(name, namespace string) string {
	if !values.Short(name) {
		return strings.ToLower(name)
	}
	var room [128]byte
	full := values.AppendHost(room[:0], name, namespace, f.mesh.ClusterDomain)
	if svc := f.services[string(full)]; svc != nil {
		return svc.Host
	}
	return string(full)
}
