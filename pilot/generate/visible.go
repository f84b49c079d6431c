package generate

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/generate/imports"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/ruling"
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
	limits   *imports.Imports
	rulings  map[*model.EgressListener]*ruling.Ruling // of listeners, as far as they were asked for
	aliases  map[string][]*model.Service              // ExternalName services by what they stand for in the end
	seen     map[string]*imports.Seen                 // by host: none where there are no limits
}

type imported struct {
	*model.Service
	*imports.Seen
}

// key spells the imported ports; "": all.
func (i imported) key() string {
	if i.Seen == nil {
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
func (i imported) has(port uint16) bool { return i.Has(port) }

// dials reports whether clients may dial the service at the port.
func (i imported) dials(port uint16) bool { return i.Dials(port) }

// at is the listener with an address of its own that serves the service's port, or nil.
func (i imported) at(port uint16) *model.EgressListener { return i.At(port) }

// importsOf are the limits of what a scope sees; gateways have none.
func importsOf(o Outbound) *imports.Imports {
	if o.Class.Router {
		return nil
	}
	return imports.New(o.Sidecar, o.Namespace, o.Class)
}

// see collects what a scope may see: exported to its namespace and, for sidecars, imported by their Sidecar.
func (ix *Index) see(o Outbound, m *Memo) *view {
	limits := importsOf(o)
	v := &view{scope: o, byHost: map[string]*model.Service{}, aliases: map[string][]*model.Service{}, limits: limits, rulings: map[*model.EgressListener]*ruling.Ruling{},
		seen: map[string]*imports.Seen{}}
	v.virtuals = ix.virtuals(o, limits)
	wanted := limits.Destinations(v.virtuals)
	for _, first := range ix.snapshot.Services {
		services := ix.byHost[first.Host]
		if services[0] != first {
			continue
		}
		known := func(svc *model.Service) (*imports.Seen, bool) { return limits.Service(m.addressed(svc, o.Class)) }
		svc, ports := choose(services, o, known, wanted[first.Host])
		if svc == nil {
			continue
		}
		svc = m.addressed(svc, o.Class)
		v.byHost[svc.Host] = svc
		v.services = append(v.services, imported{svc, ports})
		if ports != nil {
			v.seen[svc.Host] = ports
		}
	}
	for _, s := range v.services {
		if end := ix.stands[s.Host]; end != "" && s.Resolution == model.ResolveAlias {
			v.aliases[end] = append(v.aliases[end], s.Service)
		}
	}
	return v
}

// choose picks the service that a host means to a client, and its imported ports: its own namespace's, otherwise the first. Where none is imported, it is
// one that imported rules send to.
func choose(services []*model.Service, o Outbound, seen func(*model.Service) (*imports.Seen, bool), wanted map[imports.Want]bool) (*model.Service, *imports.Seen) {
	var best, target *model.Service
	var bestPorts *imports.Seen
	goesBefore := func(svc, other *model.Service) bool {
		return other == nil || other.Namespace != o.Namespace && svc.Namespace == o.Namespace
	}
	for _, svc := range services {
		if !svc.Export.To(o.Namespace) {
			continue
		}
		if ports, ok := seen(svc); ok && goesBefore(svc, best) {
			best, bestPorts = svc, ports
		}
		if goesBefore(svc, target) {
			target = svc
		}
	}
	if len(wanted) == 0 || target == nil || best != nil && best != target {
		return best, bestPorts
	}
	sent := imports.SentTo(target, wanted)
	switch {
	case len(sent) == 0:
		return best, bestPorts
	case best == nil:
		bestPorts = &imports.Seen{}
	}
	bestPorts.Sent = sent
	return target, bestPorts
}

// virtuals are the VirtualServices that a scope's sidecars may obey.
func (ix *Index) virtuals(o Outbound, limits *imports.Imports) []*model.VirtualService {
	if o.Class.Router {
		return nil
	}
	return ix.ranked(o.Namespace, func(vs *model.VirtualService) bool { return barred(vs, o, limits) == "" })
}

// ranked are those of the VirtualServices exported to a namespace that are wanted: its own private ones first, then those exported to it, then public ones;
// each by age.
func (ix *Index) ranked(namespace string, wanted func(*model.VirtualService) bool) []*model.VirtualService {
	var ranks [3][]*model.VirtualService
	for _, vs := range ix.snapshot.VirtualServices {
		if vs.Export.To(namespace) && wanted(vs) {
			n := vs.Rank(namespace)
			ranks[n] = append(ranks[n], vs)
		}
	}
	return slices.Concat(ranks[:]...)
}

// barred says why a VirtualService is not for a scope's sidecars; "": it is.
func barred(vs *model.VirtualService, o Outbound, limits *imports.Imports) string {
	switch {
	case !vs.Export.To(o.Namespace):
		return "exportTo: it is not exported to the client's namespace"
	case !slices.Contains(vs.Gateways, model.MeshGateway):
		return "gateways: it is for gateways only; mesh is not among them"
	case !limits.Virtual(vs):
		return "the client's Sidecar does not import it"
	}
	return ""
}

// rulesAt says which VirtualService rules which host on a port.
func (b *builder) rulesAt(port uint16) *ruling.Ruling {
	if b.limits == nil {
		return &b.rules
	}
	l := b.limits.Listener(port)
	if b.rulings[l] == nil {
		found := ruling.Of(b.limits.At(port, b.virtuals))
		b.rulings[l] = &found
	}
	return b.rulings[l]
}

// rulesFor are the rules for a service's port: those of the listener that imports it.
func (b *builder) rulesFor(host string, port uint16) *ruling.Ruling {
	if b.seen[host].Aside(port) {
		port = imports.OtherPorts
	}
	return b.rulesAt(port)
}
