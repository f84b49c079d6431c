package generate

import (
	"fmt"
	"slices"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Consulted is a VirtualService that names a host.
type Consulted struct {
	VirtualService *model.VirtualService
	Why            string // why it does not rule the host for the client; "": it does
}

// Consult tells, for people, which VirtualServices with http rules name a host, and which of them rules its port for a scope's sidecars.
func (ix *Index) Consult(o Outbound, host string, port uint16, m *Memo) []Consulted {
	limits := importsOf(o)
	b := newBuilder(ix, o, m)
	in := b.hostInputs(host, b.byHost[host], port)
	var first *model.VirtualService
	for first = range in.Virtuals.All {
	}
	in.Client = o.client()
	var out []Consulted
	for _, vs := range ix.snapshot.VirtualServices {
		by := covering(vs, host)
		if by == "" || len(vs.HTTP) == 0 {
			continue
		}
		why := barred(vs, o, limits)
		if why == "" && len(limits.At(port, []*model.VirtualService{vs})) == 0 {
			why = fmt.Sprintf("the listener of the client's Sidecar for port %d does not import it", port)
		}
		if why == "" && vs != first {
			why = passedOver(in, vs, first)
		}
		out = append(out, Consulted{vs, why})
	}
	return out
}

// passedOver says why it is not a VirtualService that rules a host, but first, or none.
func passedOver(in routes.Host, vs, first *model.VirtualService) string {
	switch why := in.Bars(vs); {
	case why != "":
		return why
	case first == nil:
		return "hosts: another names the host more exactly, is exported to fewer, or is older, and has no rule for the client and port"
	}
	return fmt.Sprintf("hosts: VirtualService %s names the host, too, and goes first: more exactly, exported to fewer, or older", first.From)
}

// covering is the first of a VirtualService's hosts that covers host, or "".
func covering(vs *model.VirtualService, host string) string {
	for _, h := range vs.Hosts {
		if naming.Covers(h, host) {
			return h
		}
	}
	return ""
}

// LeftOut tells, for people, which matches for a host's port a scope's sidecars are not told of.
func (ix *Index) LeftOut(o Outbound, host string, port uint16, m *Memo) []routes.LeftOut {
	b := newBuilder(ix, o, m)
	return b.hostInputs(host, b.byHost[host], port).LeftOut()
}

// Service is what a host means to a scope's clients; nil: they see none of that name.
func (ix *Index) Service(o Outbound, host string, m *Memo) *model.Service {
	return ix.see(o, m).byHost[host]
}

// Dials reports whether a scope's clients may call a host by itself, rather than by rules alone that send to it.
func (ix *Index) Dials(o Outbound, host string, m *Memo) bool {
	return slices.ContainsFunc(ix.see(o, m).services, func(s imported) bool {
		return s.Host == host && (s.Resolution == model.ResolveAlias || s.Itself())
	})
}

// Obeyed is the DestinationRule that a scope's clients obey towards a service, or nil.
func (ix *Index) Obeyed(o Outbound, svc *model.Service) *model.DestinationRule {
	return ix.rule(o, svc)
}

// Demands is what a workload's port (0: any other) demands of its clients, and the policy that says so; nil: none does.
func (ix *Index) Demands(w *model.Workload, port uint16) (model.MTLSMode, *model.PeerAuthentication) {
	return ix.peers.Decides(w.Name.Namespace, w.Labels, port)
}

// Served is a port that a sidecar serves by itself, rather than as one of all others.
type Served struct {
	Port     uint16
	Protocol model.Protocol
	Service  *model.Service // the first to declare it; nil: none does
}

// Served are the ports of a workload that Services, its Sidecar or policies name.
func (ix *Index) Served(w *model.Workload, sidecar *model.Sidecar) []Served {
	var out []Served
	for _, p := range ix.inboundPorts(w, sidecar) {
		out = append(out, Served{p.Port, p.Protocol, p.Service})
	}
	return out
}
