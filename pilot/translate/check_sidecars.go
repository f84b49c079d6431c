package translate

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
)

// ownTLS warns of TLS for clients from outside the mesh on ports where the mesh's own is demanded or let in: there the proxy ends no other.
func (c *Checker) ownTLS(log *report.Log, o *inputs.Sidecar) {
	if c.snapshot == nil {
		return
	}
	for i, l := range o.Spec.Ingress {
		mode := l.GetTls().GetMode()
		if l.GetTls() == nil || mode != networking.ServerTLSSettings_SIMPLE && mode != networking.ServerTLSSettings_MUTUAL {
			continue
		}
		if port := uint16(l.GetPort().GetNumber()); !c.mayDisable(o, port) {
			log.Warnf(indexed("spec.ingress", i)+".tls", "without effect: no PeerAuthentication with mode DISABLE is for port %d", port)
			log.As(report.Ineffective)
		}
	}
}

// unheard warns of listeners with captureMode NONE at which nothing listens, as no service is behind them.
func (c *Checker) unheard(log *report.Log, o *inputs.Sidecar) {
	none := func(l *networking.IstioEgressListener) bool { return l.GetCaptureMode() == networking.CaptureMode_NONE }
	if c.snapshot == nil || !slices.ContainsFunc(o.Spec.Egress, none) {
		return
	}
	sidecar, _ := istioapi.ReadSidecar(o, c.mesh)
	for _, l := range sidecar.Egress {
		behind := func(s *model.Service) bool {
			return c.importable(o, l, s) && s.Resolution != model.ResolveAlias &&
				slices.ContainsFunc(s.Ports, func(p model.ServicePort) bool { return p.Number == l.Port && p.Protocol != model.UDP })
		}
		if l.Direct && !slices.ContainsFunc(c.snapshot.Services, behind) {
			i := slices.IndexFunc(o.Spec.Egress, func(e *networking.IstioEgressListener) bool {
				return none(e) && e.GetPort().GetNumber() == uint32(l.Port)
			})
			log.Warnf(indexed("spec.egress", i)+".hosts", "nothing listens at port %d: no service among them has it", l.Port)
		}
	}
}

// importable reports whether a Sidecar's listener imports a service for any client: for one in its own namespace, or in any, where it is the mesh's default.
func (c *Checker) importable(o *inputs.Sidecar, l *model.EgressListener, s *model.Service) bool {
	imports := func(client string) bool { return s.Export.To(client) && l.Imports(client, s.Namespace, s.Host) }
	if o.Namespace != c.mesh.RootNamespace || o.Spec.WorkloadSelector != nil {
		return imports(o.Namespace)
	}
	return imports(s.Namespace) || l.Imports(o.Namespace, s.Namespace, s.Host)
}

// mayDisable reports whether a PeerAuthentication switches mesh mTLS off on a port of workloads that a Sidecar may be for.
func (c *Checker) mayDisable(o *inputs.Sidecar, port uint16) bool {
	own := model.Selector(o.Spec.GetWorkloadSelector().GetLabels())
	return slices.ContainsFunc(c.snapshot.PeerAuthentications, func(p *model.PeerAuthentication) bool {
		if p.From.Namespace != o.Namespace && p.From.Namespace != c.mesh.RootNamespace || contradict(own, p.Selector) {
			return false
		}
		mode := p.Ports[port]
		if mode == model.MTLSUnset {
			mode = p.Mode
		}
		return mode == model.MTLSDisable
	})
}

// contradict reports whether no workload can have the labels of both selectors.
func contradict(a, b model.Selector) bool {
	for key, value := range a {
		if other, both := b[key]; both && other != value {
			return true
		}
	}
	return false
}
