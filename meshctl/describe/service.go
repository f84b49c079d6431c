package describe

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// ServiceReport is what applies to a service.
type ServiceReport struct {
	Service          string   `json:"service"`
	Host             string   `json:"host"`
	Addresses        []string `json:"addresses,omitempty"`
	Seen             string   `json:"seen,omitempty"` // by whom, where not by all
	Kind             string   `json:"kind"`
	Ports            []Port   `json:"ports,omitempty"`
	Pods             []Pods   `json:"pods,omitempty"`
	Policies         []Policy `json:"authorizationPolicies,omitempty"`
	VirtualServices  []Rule   `json:"virtualServices,omitempty"`
	DestinationRules []Rule   `json:"destinationRules,omitempty"`
	Gateways         []string `json:"gateways,omitempty"`
	Warnings         []string `json:"warnings,omitempty"`
}

// Pods are the pods of one owner that are behind a service.
type Pods struct {
	Owner string   `json:"owner"`
	Pods  []string `json:"pods"`
	Proxy string   `json:"proxy"`
}

// FindService returns the service that a user means: NAME, NAME.NAMESPACE, or a host.
func FindService(m *replica.Mesh, name, namespace string) (*model.Service, error) {
	for _, svc := range m.Snapshot.Services {
		if svc.Host == strings.ToLower(name) || svc.Name == name && svc.Namespace == namespace {
			return svc, nil
		}
	}
	for _, svc := range m.Snapshot.Services {
		if svc.Name+"."+svc.Namespace == name {
			return svc, nil
		}
	}
	return nil, fmt.Errorf("there is no service %s in namespace %s; name it as SERVICE.NAMESPACE or by its host", name, namespace)
}

// Service describes a service.
func Service(m *replica.Mesh, svc *model.Service) *ServiceReport {
	out := &ServiceReport{Service: replica.Object("Service", svc.From), Host: svc.Host, Addresses: svc.Addresses, Seen: limits(svc.Export), Kind: kindText(svc)}
	if svc.Entry {
		out.Service = replica.Object("ServiceEntry", svc.From)
	}
	pods := map[string]*replica.Pod{}
	for i := range svc.Ports {
		out.port(m, svc, &svc.Ports[i], pods)
	}
	out.behind(m, pods)
	out.VirtualServices = virtualServices(m, svc.Host)
	out.DestinationRules = destinationRules(m, svc, nil)
	for _, vs := range out.VirtualServices {
		for _, g := range vs.Gateways {
			if text := "Gateway " + g; g != model.MeshGateway && !slices.Contains(out.Gateways, text) {
				out.Gateways = append(out.Gateways, text)
			}
		}
	}
	out.warn(m, svc)
	return out
}

func kindText(svc *model.Service) string {
	switch svc.Resolution {
	case model.ResolveHeadless:
		return "headless: clients dial its pods"
	case model.ResolvePassthrough:
		return "clients dial the address that they know"
	case model.ResolveDNS, model.ResolveDNSRoundRobin:
		return "its endpoints are looked up by DNS"
	case model.ResolveNamed:
		return "its hosts are looked up by DNS as requests name them"
	case model.ResolveAlias:
		return "another name of " + svc.AliasOf
	}
	return "its endpoints are known to the control plane"
}

// port tells of a port, and collects the pods behind it.
func (r *ServiceReport) port(m *replica.Mesh, svc *model.Service, port *model.ServicePort, pods map[string]*replica.Pod) {
	out := Port{Port: port.Number, Name: port.Name, Protocol: protocolText(port.Protocol), Target: port.TargetName}
	if port.Target != 0 {
		out.Target = strconv.Itoa(int(port.Target))
	}
	modes := map[string]bool{}
	if set := m.Endpoints.Sets[model.EndpointKey{Host: svc.Host, Namespace: svc.Namespace, Port: port.Number}]; set != nil {
		for _, e := range set.Endpoints {
			if out.All++; e.Health == model.Healthy {
				out.Ready++
			}
			if p := m.At(e.Address); p != nil {
				pods[p.String()] = p
				if p.Role == replica.Sidecar {
					mode, by := demands(m, p.Workload, e.Port)
					modes[mode], out.By = true, by
				}
			}
		}
	}
	out.Mode = strings.Join(slices.Sorted(maps.Keys(modes)), " and ")
	r.Ports = append(r.Ports, out)
}

// behind tells of the pods, by owner, and of the policies that they obey.
func (r *ServiceReport) behind(m *replica.Mesh, pods map[string]*replica.Pod) {
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		p := pods[name]
		at := slices.IndexFunc(r.Pods, func(o Pods) bool { return o.Owner == p.Facts.Workload })
		if at < 0 {
			at = len(r.Pods)
			r.Pods = append(r.Pods, Pods{Owner: p.Facts.Workload, Proxy: injection(m, p)})
		}
		r.Pods[at].Pods = append(r.Pods[at].Pods, name)
		if p.Role == replica.NoProxy {
			continue
		}
		for _, policy := range policiesOf(m, p) {
			if !slices.Contains(r.Policies, policy) {
				r.Policies = append(r.Policies, policy)
			}
		}
	}
}

// warn adds what is probably wrong.
func (r *ServiceReport) warn(m *replica.Mesh, svc *model.Service) {
	add := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	for _, p := range r.Ports {
		if svc.Port(p.Port).Protocol == model.Unknown {
			add("port %d (%q) declares no protocol: name it http-..., grpc-..., tcp-... or set appProtocol, or its first bytes decide", p.Port, p.Name)
		}
		if svc.Selector != nil && p.Ready == 0 && svc.Port(p.Port).Protocol != model.UDP {
			add("port %d has no ready endpoint", p.Port)
		}
	}
	proxied, bare := 0, 0
	for _, p := range r.Pods {
		if strings.HasPrefix(p.Proxy, "it has none") {
			bare++
		} else {
			proxied++
		}
	}
	if proxied > 0 && bare > 0 {
		add("some of its pods have a proxy, and some have none: policies hold for the former only")
	}
	for _, d := range r.DestinationRules {
		for _, s := range d.Subsets {
			if s.Pods == 0 && svc.Resolution == model.ResolveEndpoints {
				add("%s: no pod has the labels of subset %q (%s)", d.Object, s.Name, s.Labels)
			}
		}
	}
	r.Warnings = append(r.Warnings, issues(m, append(objectsOf(r.VirtualServices, r.DestinationRules), r.Service))...)
}

// Text writes the report for people.
func (r *ServiceReport) Text(w io.Writer) error {
	p := &page{w: w}
	p.line("%s", r.Service)
	p.field("host", "%s", r.Host)
	p.field("addresses", "%s", strings.Join(r.Addresses, ", "))
	p.field("kind", "%s", r.Kind)
	p.field("seen", "%s", r.Seen)
	for _, port := range r.Ports {
		p.field("port", "%s", port.text())
	}
	for _, o := range r.Pods {
		p.field("pods", "%s: %s; proxy: %s", o.Owner, strings.Join(o.Pods, ", "), o.Proxy)
	}
	p.list("reached through", r.Gateways)
	p.policies(r.Policies)
	p.rules(r.VirtualServices)
	p.rules(r.DestinationRules)
	p.list("warning", r.Warnings)
	return p.err
}
