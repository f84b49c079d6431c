// Package imports says what a Sidecar's egress lets its proxies see: ports of services, and rules. It does not decide which of several services a host
// means.
package imports

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// OtherPorts is the port of the listener for all ports that have none.
const OtherPorts = 0

// Imports is a Sidecar's egress. Nil: no limits.
type Imports struct {
	client    string // the namespace of the clients
	listeners []*model.EgressListener
	locked    map[uint16]bool // ports of which one listener has the wildcard address
	class     naming.Class
}

// New reads a Sidecar, which may be nil, of clients in a namespace that are no gateways.
func New(sidecar *model.Sidecar, client string, class naming.Class) *Imports {
	if sidecar == nil || len(sidecar.Egress) == 0 {
		return nil
	}
	out := &Imports{client: client, listeners: sidecar.Egress, locked: map[uint16]bool{}, class: class}
	for _, l := range out.listeners {
		if ip, err := netip.ParseAddr(l.Bind); l.Port != 0 && (!l.Apart() || err == nil && ip.IsUnspecified()) {
			out.locked[l.Port] = true
		}
	}
	return out
}

// Service returns the ports of a service that are imported, and whether any is. Of an ExternalName service just the
// name is, whatever its ports.
func (im *Imports) Service(svc *model.Service) (*Seen, bool) {
	if im == nil {
		return nil, true
	}
	if svc.Resolution == model.ResolveAlias {
		return &Seen{}, slices.ContainsFunc(im.listeners, func(l *model.EgressListener) bool { return l.Imports(im.client, svc.Namespace, svc.Host) })
	}
	out := &Seen{Dialled: map[uint16]bool{}}
	for _, l := range im.listeners {
		if !l.Imports(im.client, svc.Namespace, svc.Host) {
			continue
		}
		for i := range svc.Ports {
			switch n := svc.Ports[i].Number; {
			case l.Port == n && l.Apart():
				if out.Apart == nil {
					out.Apart = map[uint16]*model.EgressListener{}
				}
				out.Apart[n] = l
			case l.Port == n || l.Port == 0 && !im.locked[n]:
				out.Dialled[n] = true
			case l.Port == 0 && im.addressed(svc, &svc.Ports[i]):
				if out.Beside == nil {
					out.Beside = map[uint16]bool{}
				}
				out.Beside[n] = true
			}
		}
	}
	maps.DeleteFunc(out.Beside, func(n uint16, _ bool) bool { return out.Dialled[n] })
	return out, out.Itself()
}

// addressed reports whether connections to a port have listeners of their own addresses, rather than a part of the wildcard one.
func (im *Imports) addressed(svc *model.Service, port *model.ServicePort) bool {
	switch {
	case port.Protocol.IsHTTP():
		return false
	case slices.ContainsFunc(svc.Addresses, func(a string) bool { return im.class.Usable(a) && !naming.IsBlock(a) }):
		return true
	}
	return svc.Resolution == model.ResolveHeadless && port.Protocol != model.Unknown
}

// Virtual reports whether a VirtualService is imported.
func (im *Imports) Virtual(vs *model.VirtualService) bool {
	return im == nil || slices.ContainsFunc(im.listeners, func(l *model.EgressListener) bool { return im.rules(l, vs) })
}

// rules reports whether a listener imports a VirtualService.
func (im *Imports) rules(l *model.EgressListener, vs *model.VirtualService) bool {
	return slices.ContainsFunc(vs.Hosts, func(host string) bool { return l.ImportsRules(im.client, vs.From.Namespace, host) })
}

// Listener is the one that decides which rules there are on a port: its own, or the one of all other ports. Nil: there is none.
func (im *Imports) Listener(port uint16) *model.EgressListener {
	var rest *model.EgressListener
	for _, l := range im.listeners {
		switch l.Port {
		case port:
			return l
		case 0:
			rest = l
		}
	}
	return rest
}

// At are those of a scope's VirtualServices that there are on a port.
func (im *Imports) At(port uint16, virtuals []*model.VirtualService) []*model.VirtualService {
	if im == nil {
		return virtuals
	}
	l := im.Listener(port)
	if l == nil {
		return nil
	}
	var out []*model.VirtualService
	for _, vs := range virtuals {
		if im.rules(l, vs) {
			out = append(out, vs)
		}
	}
	return out
}

// Want is what a rule needs of a service that it sends to: the port of the listener that imports the rule, as in Istio; else the one that it names, or all.
type Want struct{ listener, port uint16 }

// Destinations are what imported VirtualServices send to, by host: importing the rule imports them, for rules only. Nil without limits.
func (im *Imports) Destinations(virtuals []*model.VirtualService) map[string]map[Want]bool {
	if im == nil {
		return nil
	}
	out := map[string]map[Want]bool{}
	for _, vs := range virtuals {
		for _, l := range im.listeners {
			if !im.rules(l, vs) {
				continue
			}
			for d := range EveryDestination(vs) {
				w := Want{listener: l.Port}
				if l.Port == 0 {
					w.port = d.Port
				}
				if out[d.Host] == nil {
					out[d.Host] = map[Want]bool{}
				}
				out[d.Host][w] = true
			}
		}
	}
	return out
}

// EveryDestination walks the destinations of a VirtualService, mirrors included.
func EveryDestination(vs *model.VirtualService) func(func(*model.Destination) bool) {
	return func(yield func(*model.Destination) bool) {
		for _, r := range vs.HTTP {
			for d := range HTTPDestinations(r) {
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

// HTTPDestinations walks the destinations of one rule, mirrors last.
func HTTPDestinations(r *model.HTTPRoute) func(func(*model.Destination) bool) {
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

// SentTo are the ports of a service that are among those wanted.
func SentTo(svc *model.Service, wanted map[Want]bool) map[uint16]bool {
	out := map[uint16]bool{}
	for i := range svc.Ports {
		n := svc.Ports[i].Number
		if wanted[Want{listener: n}] || wanted[Want{port: n}] || wanted[Want{}] {
			out[n] = true
		}
	}
	return out
}

// Seen are the ports of a service that a Sidecar imports. Nil: all, where clients dial the service.
type Seen struct {
	Dialled map[uint16]bool                  // where clients dial the service
	Apart   map[uint16]*model.EgressListener // at a listener with an address of its own
	Beside  map[uint16]bool                  // at its own addresses, where the port's listener does not import it, but that of all other ports does
	Sent    map[uint16]bool                  // where only rules send to the service
}

// Has reports whether the port is imported.
func (s *Seen) Has(port uint16) bool { return s.Dials(port) || s.At(port) != nil || s.Sent[port] }

// Dials reports whether clients may dial the service at the port.
func (s *Seen) Dials(port uint16) bool { return s == nil || s.Dialled[port] || s.Beside[port] }

// Aside reports whether the Sidecar's listener of the port does not import the service there.
func (s *Seen) Aside(port uint16) bool { return s != nil && s.Beside[port] }

// Itself reports whether clients may call the service, rather than rules alone.
func (s *Seen) Itself() bool { return s == nil || len(s.Dialled)+len(s.Apart)+len(s.Beside) > 0 }

// At is the listener with an address of its own that serves the service's port, or nil.
func (s *Seen) At(port uint16) *model.EgressListener {
	if s == nil {
		return nil
	}
	return s.Apart[port]
}
