// Package describe says what applies to a pod or to a service: what selects it, what routes to it, what it demands of its clients, and what
// about it is probably wrong. It asks the mesh's own packages and judges nothing by itself.
package describe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Port is a port and what it demands of its clients.
type Port struct {
	Port     uint16 `json:"port"` // of the pod, or of the service
	Target   string `json:"target,omitempty"`
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol"`
	Service  string `json:"service,omitempty"`
	Mode     string `json:"mutualTLS,omitempty"`
	By       string `json:"by,omitempty"` // the PeerAuthentication
	Ready    int    `json:"readyEndpoints,omitempty"`
	All      int    `json:"endpoints,omitempty"`
}

// Rule is an object that says how clients reach a service.
type Rule struct {
	Object   string   `json:"object"`
	Hosts    []string `json:"hosts,omitempty"`
	Gateways []string `json:"gateways,omitempty"`
	Limits   string   `json:"limits,omitempty"` // for whom it is
	Subsets  []Subset `json:"subsets,omitempty"`
	Rules    int      `json:"rules,omitempty"`
}

// Subset is a subset of a DestinationRule.
type Subset struct {
	Name   string `json:"name"`
	Labels string `json:"labels"`
	Pods   int    `json:"pods"` // of the service
	Here   bool   `json:"here"` // the pod that is described is one of them
}

// Policy is an AuthorizationPolicy.
type Policy struct {
	Object string `json:"object"`
	Action string `json:"action"`
	Rules  int    `json:"rules"`
}

func modeText(m model.MTLSMode) string {
	return [...]string{"UNSET", "DISABLE", "PERMISSIVE", "STRICT"}[m]
}

// demands is what a pod's port demands of its clients, and who says so.
func demands(m *replica.Mesh, w *model.Workload, port uint16) (mode, by string) {
	found, policy := m.Index.Demands(w, port)
	if policy == nil {
		return modeText(found), "the default"
	}
	return modeText(found), replica.Object("PeerAuthentication", policy.From)
}

func protocolText(p model.Protocol) string {
	return [...]string{"none declared: it is sniffed", "HTTP", "HTTP/2", "gRPC", "gRPC-Web", "HTTPS", "TLS", "TCP", "Mongo", "MySQL", "Redis", "UDP"}[p]
}

func labelText(s map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s)) {
		out = append(out, k+"="+s[k])
	}
	return strings.Join(out, ",")
}

// injection says how a pod comes to have a proxy, or why it has none.
func injection(m *replica.Mesh, p *replica.Pod) string {
	switch p.Role {
	case replica.Gateway:
		return "it is a gateway"
	case replica.Sidecar:
		return "it has a sidecar"
	}
	r, err := inject.Inject(inject.Request{Pod: p.Object, Namespace: p.Name.Namespace, NamespaceLabels: replica.NamespaceLabels(m.Inputs, p.Name.Namespace)}, m.Injection)
	switch {
	case err != nil:
		return "it has none, and would be refused: " + err.Error()
	case r.Injected:
		return "it has none, but would be given one if it was created now, since " + r.Reason
	}
	return "it has none: " + r.Reason
}

// virtualServices are the rules for a host, for anybody.
func virtualServices(m *replica.Mesh, host string) []Rule {
	var out []Rule
	for _, vs := range m.Snapshot.VirtualServices {
		if !slices.ContainsFunc(vs.Hosts, func(h string) bool { return naming.Covers(h, host) }) && !leadsTo(vs, host) {
			continue
		}
		out = append(out, Rule{Object: replica.Object("VirtualService", vs.From), Hosts: vs.Hosts, Gateways: vs.Gateways, Limits: limits(vs.Export),
			Rules: len(vs.HTTP) + len(vs.TLS) + len(vs.TCP)})
	}
	return out
}

// leadsTo reports whether one of a VirtualService's destinations is a host.
func leadsTo(vs *model.VirtualService, host string) bool {
	is := func(d *model.Destination) bool { return d.Host == host }
	for _, r := range vs.HTTP {
		if slices.ContainsFunc(r.Destinations, is) {
			return true
		}
	}
	for _, r := range vs.TLS {
		if slices.ContainsFunc(r.Destinations, is) {
			return true
		}
	}
	return slices.ContainsFunc(vs.TCP, func(r *model.TCPRoute) bool { return slices.ContainsFunc(r.Destinations, is) })
}

// limits say whose clients see an object.
func limits(v model.Visibility) string {
	switch {
	case v.Public:
		return ""
	case len(v.Namespaces) == 0:
		return "seen by nobody (exportTo)"
	}
	return "seen by namespaces " + strings.Join(v.Namespaces, ", ")
}

// destinationRules are the policies towards a service. self, which may be nil, is a pod whose subsets are marked.
func destinationRules(m *replica.Mesh, svc *model.Service, self model.Labels) []Rule {
	var out []Rule
	for _, namespace := range slices.Sorted(maps.Keys(m.Snapshot.DestinationRules)) {
		for _, r := range m.Snapshot.DestinationRules[namespace] {
			if !naming.Covers(r.Host, svc.Host) {
				continue
			}
			rule := Rule{Hosts: []string{r.Host}, Limits: limits(r.Export)}
			var names []string
			for _, n := range r.From {
				names = append(names, n.String())
			}
			rule.Object = "DestinationRule " + strings.Join(names, " and ")
			whom := "clients"
			if r.SparesServices && !svc.Entry && svc.Namespace != namespace {
				whom = "gateways"
			}
			if namespace != svc.Namespace && namespace != m.Snapshot.Mesh.RootNamespace {
				rule.Limits = "for " + whom + " in namespace " + namespace
			}
			if r.Selector != nil {
				rule.Limits = fmt.Sprintf("for %s in namespace %s with labels %s", whom, namespace, labelText(r.Selector))
			}
			switch r.Clients {
			case model.NoClients:
				rule.Limits = "obeyed by nobody: others for the host come first"
			case model.OwnClients:
				rule.Limits = "for " + whom + " in namespace " + namespace
			case model.OtherClients:
				rule.Limits = strings.TrimPrefix(rule.Limits+", not for clients in namespace "+namespace, ", ")
			}
			for _, s := range r.Subsets {
				rule.Subsets = append(rule.Subsets, Subset{Name: s.Name, Labels: labelText(s.Labels), Pods: members(m, svc, s.Labels), Here: self != nil && s.Labels.Matches(self)})
			}
			out = append(out, rule)
		}
	}
	return out
}

// members counts the pods of a service that have labels.
func members(m *replica.Mesh, svc *model.Service, labels model.Selector) int {
	seen := map[string]bool{}
	for i := range svc.Ports {
		set := m.Endpoints.Sets[model.EndpointKey{Host: svc.Host, Namespace: svc.Namespace, Port: svc.Ports[i].Number}]
		if set == nil {
			continue
		}
		for _, e := range set.Endpoints {
			if labels.Matches(e.Labels) {
				seen[e.Address] = true
			}
		}
	}
	return len(seen)
}

// policiesOf are the AuthorizationPolicies in force for a pod.
func policiesOf(m *replica.Mesh, p *replica.Pod) []Policy {
	scope := m.Scope(p)
	list := scope.Inbound.Policies
	if p.Role == replica.Gateway {
		list = scope.Edge.Policies
	}
	var out []Policy
	for a := range list.All {
		out = append(out, Policy{replica.Object("AuthorizationPolicy", a.From), [...]string{"ALLOW", "DENY"}[a.Action], len(a.Rules)})
	}
	return out
}

// issues are what the report says of objects, by their names as in "VirtualService shop/catalog".
func issues(m *replica.Mesh, objects []string) []string {
	var out []string
	for _, e := range m.Report.Entries {
		if !slices.Contains(objects, e.Ref.String()) {
			continue
		}
		for _, i := range e.Issues {
			out = append(out, fmt.Sprintf("%s: %s", e.Ref, i))
		}
	}
	return out
}

// refused are a namespace's objects of some kinds that were not understood as written.
func refused(m *replica.Mesh, namespace string, kinds ...string) []string {
	var out []string
	for _, e := range m.Report.Entries {
		if (e.State == report.Refused || e.State == report.Closed) && e.Ref.Namespace == namespace && slices.Contains(kinds, e.Ref.Kind) {
			out = append(out, fmt.Sprintf("%s is %s: %s", e.Ref, e.State, e.Issues[0]))
		}
	}
	return out
}

// objectsOf are the names of rules.
func objectsOf(lists ...[]Rule) []string {
	var out []string
	for _, list := range lists {
		for _, r := range list {
			out = append(out, r.Object)
		}
	}
	return out
}
