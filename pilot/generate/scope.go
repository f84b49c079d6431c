package generate

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Scope is what about a proxy changes the answer. Proxies of equal scope share results. It is comparable, within one Memo.
type Scope struct {
	// From is where the proxy is, as far as its mesh cares: it orders the endpoints that the proxy is told, and nothing else.
	From     upstream.Vantage
	Outbound Outbound
	Inbound  listeners.Inbound // sidecars
	Edge     Edge              // routers
}

// Outbound is what a proxy's view of others depends on.
type Outbound struct {
	Class     naming.Class
	Namespace string
	Sidecar   *model.Sidecar
	// Rules are the DestinationRules with a selector that select the proxy.
	Rules *intern.List[*model.DestinationRule]
	// Reports is what the proxy logs, traces and counts.
	Reports *observe.Reports
	// Traced is what spans call the workload; empty where tracing is off, so that all may share.
	Traced string
	// From is where the proxy is, where clusters that it resolves itself depend on that.
	From upstream.Vantage
	// Through is whether the proxy is a gateway that carries mesh mTLS on to the services that SNI spells.
	Through bool
	// Self are the addresses by which a gateway would come back to itself, where names lead.
	Self *intern.List[string]
	// Sources are the label conditions of routes that hold for the proxy.
	Sources *intern.List[string]
	// OnDemand is whether the proxy asks for hosts, clusters and listeners when they are first used.
	OnDemand bool
}

// ScopeOf finds out what matters about a workload's proxy.
func ScopeOf(ix *Index, w *model.Workload, class naming.Class, m *Memo) Scope {
	onDemand := class.OnDemand
	class.OnDemand = false // so that what is made is shared with other proxies
	scope := Scope{Outbound: Outbound{Class: class, Namespace: w.Name.Namespace, OnDemand: onDemand}}
	scope.Outbound.Sources = m.strings.Of(ix.sourcesOf(w))
	scope.From = ix.vantage(w, m)
	if ix.sights.resolved {
		scope.Outbound.From = scope.From
		scope.Outbound.From.Node = "" // what is looked up is on none
	}
	scope.Outbound.Rules = m.rules.Of(ix.selectedRules(w))
	reports := m.observed.Get(ix.reports.Of(w.Name.Namespace, w.Labels, m.layers), observe.Merge)
	self := listeners.Self{Facts: w.Facts, Identity: w.Identity}
	self.Facts.Pod = ""
	policies := m.policies.Of(ix.authorizations(w))
	if class.Router {
		scope.Edge = Edge{
			Mesh: ix.mesh, Class: class, Self: self, Reports: reports, Topology: ix.mesh.Topology, Namespace: w.Name.Namespace, Policies: policies,
			Servers: m.servers.Of(ix.servers(w)),
		}
		if w.Topology != nil {
			scope.Edge.Topology = *w.Topology
		}
		for s := range scope.Edge.Servers.All {
			scope.Outbound.Through = scope.Outbound.Through || s.Server.Kind() == model.ServeNamed
		}
		if ix.named && !class.Foreign {
			scope.Outbound.Self = m.strings.Of(ix.leadsBack(w))
		}
		return scope
	}
	scope.Outbound.Sidecar = ix.sidecar(w)
	if scope.Outbound.Reports = reports; reports.Client.Tracing.Target != "" {
		scope.Outbound.Traced = self.ServiceName()
	}
	scope.Inbound = listeners.Inbound{
		Mesh: ix.mesh, Class: class, Self: self, Reports: reports, Policies: policies,
		Mode: ix.peers.Mode(w.Name.Namespace, w.Labels, 0), Ports: m.ports.Of(ix.inboundPorts(w, scope.Outbound.Sidecar)),
	}
	if class.Proxyless {
		scope.Inbound.Addresses = m.strings.Of(append([]string{"0.0.0.0", "::"}, w.IPs...))
		scope.Inbound.MeshTLS = w.Labels[wire.TLSModeLabel] == wire.TLSModeMesh
	}
	return scope
}

// selectedRules are the DestinationRules that name the workload by labels.
func (ix *Index) selectedRules(w *model.Workload) []*model.DestinationRule {
	var out []*model.DestinationRule
	for _, rule := range ix.snapshot.DestinationRules[w.Name.Namespace] {
		if rule.Selector != nil && rule.Selector.Matches(w.Labels) {
			out = append(out, rule)
		}
	}
	return out
}

// sidecar chooses the Sidecar: the oldest that selects the workload, then its namespace's default, then the mesh's.
func (ix *Index) sidecar(w *model.Workload) *model.Sidecar {
	var namespaced, root *model.Sidecar
	for _, s := range ix.snapshot.Sidecars {
		own := s.From.Namespace == w.Name.Namespace
		switch {
		case own && s.Selector != nil:
			if s.Selector.Matches(w.Labels) {
				return s
			}
		case own && namespaced == nil:
			namespaced = s
		case s.Selector == nil && s.From.Namespace == ix.mesh.RootNamespace && root == nil:
			root = s
		}
	}
	if namespaced != nil {
		return namespaced
	}
	return root
}

// sourcesOf are the label conditions of routes that hold for the workload.
func (ix *Index) sourcesOf(w *model.Workload) []string {
	var out []string
	for _, c := range ix.conditions {
		if c.labels.Matches(w.Labels) {
			out = append(out, c.key)
		}
	}
	return out
}

// authorizations are the policies for a workload, in the snapshot's order.
func (ix *Index) authorizations(w *model.Workload) []*model.Authorization {
	var out []*model.Authorization
	for _, a := range ix.snapshot.Authorizations {
		if a.From.Namespace != w.Name.Namespace && a.From.Namespace != ix.mesh.RootNamespace {
			continue
		}
		if a.Selector == nil || a.Selector.Matches(w.Labels) {
			out = append(out, a)
		}
	}
	return out
}

// client is what decides which rules are for the proxy.
func (o Outbound) client() routes.Client {
	return routes.Client{Namespace: o.Namespace, Sources: o.Sources}
}
