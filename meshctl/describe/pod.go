package describe

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// PodReport is what applies to a pod.
type PodReport struct {
	Pod              string   `json:"pod"`
	Owner            string   `json:"owner,omitempty"`
	Addresses        []string `json:"addresses,omitempty"`
	Identity         string   `json:"identity"`
	Proxy            string   `json:"proxy"` // and how it comes to have one, or why it has none
	Sidecar          string   `json:"sidecar,omitempty"`
	Services         []string `json:"services,omitempty"`
	Ports            []Port   `json:"ports,omitempty"`
	OtherPorts       *Port    `json:"otherPorts,omitempty"`
	Policies         []Policy `json:"authorizationPolicies,omitempty"`
	VirtualServices  []Rule   `json:"virtualServices,omitempty"`
	DestinationRules []Rule   `json:"destinationRules,omitempty"`
	Gateways         []string `json:"gateways,omitempty"`
	Warnings         []string `json:"warnings,omitempty"`
}

// Pod describes a pod.
func Pod(m *replica.Mesh, p *replica.Pod) *PodReport {
	out := &PodReport{Pod: p.String(), Owner: p.Facts.Workload, Addresses: p.IPs, Identity: p.Identity.String(), Proxy: injection(m, p)}
	scope := m.Scope(p)
	for _, svc := range m.Snapshot.Services {
		if svc.Namespace != p.Name.Namespace || svc.Selector == nil || !svc.Selects(p.Workload) {
			continue
		}
		kind := "Service"
		if svc.Entry {
			kind = "ServiceEntry"
		}
		out.Services = append(out.Services, replica.Object(kind, svc.From))
		out.VirtualServices = merge(out.VirtualServices, virtualServices(m, svc.Host))
		out.DestinationRules = merge(out.DestinationRules, destinationRules(m, svc, p.Labels))
		out.Warnings = append(out.Warnings, portWarnings(svc, p)...)
	}
	if p.Role == replica.Sidecar {
		out.inbound(m, p)
		if s := scope.Outbound.Sidecar; s != nil {
			out.Sidecar = replica.Object("Sidecar", s.From)
		}
	}
	for s := range scope.Edge.Servers.All {
		out.Gateways = append(out.Gateways, fmt.Sprintf("Gateway %s, port %d (it listens on %d), hosts %s", s.Gateway.ID(), s.Server.Port, s.Port, hostsOf(s.Server)))
	}
	if p.Role != replica.NoProxy {
		out.Policies = policiesOf(m, p)
	}
	out.warn(m, p)
	return out
}

func hostsOf(s *model.Server) string {
	var out []string
	for _, h := range s.Hosts {
		out = append(out, h.Host)
	}
	return strings.Join(out, ", ")
}

// merge adds rules that are not there yet.
func merge(to, more []Rule) []Rule {
	for _, r := range more {
		if !slices.ContainsFunc(to, func(o Rule) bool { return o.Object == r.Object }) {
			to = append(to, r)
		}
	}
	return to
}

// inbound tells of the ports that a sidecar serves.
func (r *PodReport) inbound(m *replica.Mesh, p *replica.Pod) {
	for _, served := range m.Index.Served(p.Workload, m.Scope(p).Outbound.Sidecar) {
		port := Port{Port: served.Port, Protocol: protocolText(served.Protocol)}
		if served.Service != nil {
			port.Service = replica.Object("Service", served.Service.From)
		}
		port.Mode, port.By = demands(m, p.Workload, served.Port)
		r.Ports = append(r.Ports, port)
	}
	other := &Port{}
	other.Mode, other.By = demands(m, p.Workload, 0)
	r.OtherPorts = other
}

// portWarnings say what about a service's ports is probably wrong for a pod.
func portWarnings(svc *model.Service, p *replica.Pod) []string {
	var out []string
	for _, port := range svc.Ports {
		if port.TargetName != "" && p.ContainerPorts[port.TargetName] == 0 {
			out = append(out, fmt.Sprintf("Service %s: port %d leads to the container port named %q, which the pod does not have", svc.From, port.Number, port.TargetName))
		}
	}
	return out
}

// warn adds what is probably wrong.
func (r *PodReport) warn(m *replica.Mesh, p *replica.Pod) {
	if p.Role == replica.NoProxy && strings.Contains(r.Proxy, "created now") {
		r.Warnings = append(r.Warnings, "it runs without a proxy although it is to have one: create it anew")
	}
	if len(r.Services) == 0 && p.Role == replica.Sidecar {
		r.Warnings = append(r.Warnings, "no Service selects it: clients in the mesh have no name for it, and its ports are sniffed")
	}
	if p.Labels["app"] == "" && p.Labels["app.kubernetes.io/name"] == "" && p.Role == replica.Sidecar {
		r.Warnings = append(r.Warnings, "it has neither label app nor app.kubernetes.io/name: metrics call it by its owner's name")
	}
	for _, d := range r.DestinationRules {
		if len(d.Subsets) > 0 && !slices.ContainsFunc(d.Subsets, func(s Subset) bool { return s.Here }) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s has subsets, and the pod is in none of them", d.Object))
		}
	}
	r.Warnings = append(r.Warnings, issues(m, objectsOf(r.VirtualServices, r.DestinationRules))...)
	r.Warnings = append(r.Warnings, refused(m, p.Name.Namespace, "AuthorizationPolicy", "PeerAuthentication")...)
}

// Text writes the report for people.
func (r *PodReport) Text(w io.Writer) error {
	p := &page{w: w}
	p.line("Pod %s", r.Pod)
	p.field("owner", "%s", r.Owner)
	p.field("addresses", "%s", strings.Join(r.Addresses, ", "))
	p.field("identity", "%s", r.Identity)
	p.field("proxy", "%s", r.Proxy)
	if r.Sidecar != "" {
		p.field("sees", "what %s imports", r.Sidecar)
	}
	p.list("services", r.Services)
	for _, port := range r.Ports {
		p.field("port", "%s", port.text())
	}
	if o := r.OtherPorts; o != nil {
		p.field("other ports", "mutual TLS %s, by %s", o.Mode, o.By)
	}
	p.list("gateways", r.Gateways)
	p.policies(r.Policies)
	p.rules(r.VirtualServices)
	p.rules(r.DestinationRules)
	p.list("warning", r.Warnings)
	return p.err
}
