package generate

import (
	"net/netip"
	"slices"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// view is what one outbound scope sees of the mesh.
type view struct {
	scope Outbound
	// services that may be reached, by precedence, each with the ports that were imported.
	services []imported
	byHost   map[string]*model.Service
	// virtuals apply to sidecars; the first for a host wins.
	virtuals []*model.VirtualService
	aliases  map[string][]*model.Service // ExternalName services by what they stand for
}

type imported struct {
	*model.Service
	*seen
}

// seen are the ports of a service that a Sidecar imports. Nil: all, where clients dial the service.
type seen struct {
	dialled map[uint16]bool                  // where clients dial the service
	apart   map[uint16]*model.EgressListener // at a listener with an address of its own
}

// key spells the imported ports; "": all.
func (i imported) key() string {
	if i.seen == nil {
		return ""
	}
	out := " "
	for j := range i.Ports {
		if n := i.Ports[j].Number; i.has(n) {
			out += naming.Port(n) + " "
		}
	}
	return out
}

// has reports whether the port is imported.
func (s *seen) has(port uint16) bool { return s.dials(port) || s.at(port) != nil }

// dials reports whether clients may dial the service at the port.
func (s *seen) dials(port uint16) bool { return s == nil || s.dialled[port] }

// at is the listener with an address of its own that serves the service's port, or nil.
func (s *seen) at(port uint16) *model.EgressListener {
	if s == nil {
		return nil
	}
	return s.apart[port]
}

// see collects what a scope may see: exported to its namespace and, for sidecars, imported by their Sidecar.
func (ix *Index) see(o Outbound, m *Memo) *view {
	v := &view{scope: o, byHost: map[string]*model.Service{}, aliases: map[string][]*model.Service{}}
	limits := newImports(o)
	v.virtuals = ix.virtuals(o, limits)
	wanted := destinations(v.virtuals, limits)
	for _, first := range ix.snapshot.Services {
		services := ix.byHost[first.Host]
		if services[0] != first {
			continue
		}
		svc, ports := choose(services, o, limits, wanted[first.Host])
		if svc == nil {
			continue
		}
		svc = m.addressed(svc, o.Class)
		v.byHost[svc.Host] = svc
		v.services = append(v.services, imported{svc, ports})
	}
	for _, s := range v.services {
		if s.Resolution == model.ResolveAlias {
			v.aliases[s.AliasOf] = append(v.aliases[s.AliasOf], s.Service)
		}
	}
	return v
}

// choose picks the service that a host means to a client, and its imported ports: its own namespace's, otherwise the first. One that
// only an imported VirtualService wants counts where no other was imported.
func choose(services []*model.Service, o Outbound, limits *imports, wanted bool) (*model.Service, *seen) {
	var best *model.Service
	var bestPorts *seen
	consider := func(svc *model.Service, ports *seen) {
		if best == nil || best.Namespace != o.Namespace && svc.Namespace == o.Namespace {
			best, bestPorts = svc, ports
		}
	}
	for _, svc := range services {
		if ports, ok := limits.service(svc); ok && svc.Export.To(o.Namespace) {
			consider(svc, ports)
		}
	}
	if best != nil || !wanted {
		return best, bestPorts
	}
	for _, svc := range services {
		if svc.Export.To(o.Namespace) {
			consider(svc, nil)
		}
	}
	return best, nil
}

// virtuals are the VirtualServices that a scope's sidecars may obey.
func (ix *Index) virtuals(o Outbound, limits *imports) []*model.VirtualService {
	var out []*model.VirtualService
	if o.Class.Router {
		return nil
	}
	for _, vs := range ix.snapshot.VirtualServices {
		if barred(vs, o, limits) == "" {
			out = append(out, vs)
		}
	}
	return out
}

// barred says why a VirtualService is not for a scope's sidecars; "": it is.
func barred(vs *model.VirtualService, o Outbound, limits *imports) string {
	switch {
	case !vs.Export.To(o.Namespace):
		return "exportTo: it is not exported to the client's namespace"
	case !slices.Contains(vs.Gateways, model.MeshGateway):
		return "gateways: it is for gateways only; mesh is not among them"
	case !limits.virtual(vs):
		return "the client's Sidecar does not import it"
	}
	return ""
}

// destinations are the hosts that imported VirtualServices send to: importing the rule imports them. Nil without limits.
func destinations(virtuals []*model.VirtualService, limits *imports) map[string]bool {
	if limits == nil {
		return nil
	}
	out := map[string]bool{}
	for _, vs := range virtuals {
		for d := range everyDestination(vs) {
			out[d.Host] = true
		}
	}
	return out
}

// everyDestination walks the destinations of a VirtualService, mirrors included.
func everyDestination(vs *model.VirtualService) func(func(*model.Destination) bool) {
	return func(yield func(*model.Destination) bool) {
		for _, r := range vs.HTTP {
			for d := range httpDestinations(r) {
				if !yield(d) {
					return
				}
			}
		}
		for _, r := range vs.TLS {
			for _, d := range r.Destinations {
				if !yield(d) {
					return
				}
			}
		}
		for _, r := range vs.TCP {
			for _, d := range r.Destinations {
				if !yield(d) {
					return
				}
			}
		}
	}
}

// httpDestinations walks the destinations of one rule, mirrors last.
func httpDestinations(r *model.HTTPRoute) func(func(*model.Destination) bool) {
	return func(yield func(*model.Destination) bool) {
		for _, d := range r.Destinations {
			if !yield(d) {
				return
			}
		}
		for _, m := range r.Mirrors {
			if !yield(&m.Destination) {
				return
			}
		}
	}
}

// imports is a Sidecar's egress. Nil: no limits.
type imports struct {
	listeners []*model.EgressListener
	locked    map[uint16]bool // ports of which one listener has the wildcard address
}

func newImports(o Outbound) *imports {
	if o.Class.Router || o.Sidecar == nil || len(o.Sidecar.Egress) == 0 {
		return nil
	}
	out := &imports{listeners: o.Sidecar.Egress, locked: map[uint16]bool{}}
	for _, l := range out.listeners {
		if ip, err := netip.ParseAddr(l.Bind); l.Port != 0 && (!l.Apart() || err == nil && ip.IsUnspecified()) {
			out.locked[l.Port] = true
		}
	}
	return out
}

// service returns the ports of a service that are imported, and whether any is.
func (im *imports) service(svc *model.Service) (*seen, bool) {
	if im == nil {
		return nil, true
	}
	out := &seen{dialled: map[uint16]bool{}}
	for _, l := range im.listeners {
		if !l.Imports(svc.Namespace, svc.Host) {
			continue
		}
		for i := range svc.Ports {
			switch n := svc.Ports[i].Number; {
			case l.Port == n && l.Apart():
				if out.apart == nil {
					out.apart = map[uint16]*model.EgressListener{}
				}
				out.apart[n] = l
			case l.Port == n || l.Port == 0 && !im.locked[n]:
				out.dialled[n] = true
			}
		}
	}
	return out, len(out.dialled)+len(out.apart) > 0
}

// virtual reports whether a VirtualService is imported.
func (im *imports) virtual(vs *model.VirtualService) bool {
	if im == nil {
		return true
	}
	for _, l := range im.listeners {
		for _, host := range vs.Hosts {
			if l.Imports(vs.From.Namespace, host) {
				return true
			}
		}
	}
	return false
}
