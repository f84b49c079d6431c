package generate

import (
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Class is the few properties of a proxy that many resources depend on.
type Class struct {
	Router  bool // a gateway; otherwise a sidecar
	Foreign bool // a stock Envoy: no facts of ours, identities spelled out
	IPv4    bool
	IPv6    bool
}

// Self is how a workload names itself in telemetry. The pod is left out, so that replicas share what they are told.
type Self struct {
	Facts    model.Facts
	Identity spiffe.Identity
}

// Scope is what about a proxy changes the answer. Proxies of equal scope share results. It is comparable, within one Memo.
type Scope struct {
	Outbound Outbound
	Inbound  Inbound // sidecars
	Edge     Edge    // routers
}

// Outbound is what a proxy's view of others depends on.
type Outbound struct {
	Class     Class
	Namespace string
	Sidecar   *model.Sidecar
	// Rules are the DestinationRules with a selector that select the proxy.
	Rules *List[*model.DestinationRule]
	// Traced is what spans call the workload; empty where tracing is off, so that all may share.
	Traced string
	// Sources are the label conditions of routes that hold for the proxy.
	Sources *List[string]
}

// ScopeOf finds out what matters about a workload's proxy.
func ScopeOf(ix *Index, w *model.Workload, class Class, m *Memo) Scope {
	scope := Scope{Outbound: Outbound{Class: class, Namespace: w.Name.Namespace}}
	scope.Outbound.Rules = m.rules.of(ix.selectedRules(w))
	self := Self{Facts: w.Facts, Identity: w.Identity}
	self.Facts.Pod = ""
	policies := m.policies.of(ix.authorizations(w))
	if class.Router {
		scope.Edge = Edge{
			Mesh: ix.mesh, Class: class, Self: self, Namespace: w.Name.Namespace, Policies: policies,
			Servers: m.servers.of(ix.servers(w)),
		}
		return scope
	}
	scope.Outbound.Sidecar = ix.sidecar(w)
	if ix.mesh.Tracing.Target != "" {
		scope.Outbound.Traced = self.serviceName()
	}
	scope.Outbound.Sources = m.strings.of(ix.sourcesOf(w))
	scope.Inbound = Inbound{
		Mesh: ix.mesh, Class: class, Self: self, Policies: policies,
		Mode: ix.mtls(w.Name.Namespace, w.Labels, 0), Ports: m.ports.of(ix.inboundPorts(w, scope.Outbound.Sidecar)),
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

// sourceKey spells a label condition.
func sourceKey(labels model.Selector) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
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

// from reports whether a rule for certain sources is meant for this proxy.
func (o Outbound) from(s model.Source) bool {
	if s.Namespace != "" && s.Namespace != o.Namespace {
		return false
	}
	if len(s.Labels) == 0 {
		return true
	}
	key := sourceKey(s.Labels)
	for held := range o.Sources.all {
		if held == key {
			return true
		}
	}
	return false
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
