package translate

import (
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/ingress"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/mesh"
	"github.com/heddle-mesh/heddle/pilot/translate/security"
)

// Checker judges single objects against a mesh: the same judgement that Translate puts into its report. It is immutable.
type Checker struct {
	mesh     *model.Mesh
	services map[string]*model.Service           // by host; a name inside a wildcard is no host of its own
	rules    map[string][]*model.DestinationRule // by host
	wild     []*model.DestinationRule            // for wildcards
	gateways map[string]*model.Gateway
	virtuals map[string][]*model.VirtualService // of sidecars, by host
	rivals   map[string][]rival                 // by kind and namespace, the oldest first
	edges    []*model.Gateway
	// besideIstio: nothing is refused at apply time while Istio's control plane runs in the cluster too.
	besideIstio bool
	ingress     *model.Ingress
}

// NewChecker indexes a snapshot. Without one, objects are judged by themselves only.
func NewChecker(s *model.Snapshot) *Checker {
	if s == nil {
		return &Checker{ingress: &model.Ingress{}, mesh: &model.Mesh{TrustDomain: wire.DefaultTrustDomain, RootNamespace: wire.SystemNamespace,
			ClusterDomain: wire.DefaultClusterDomain, Ingress: model.IngressSettings{Class: wire.IngressClass}}}
	}
	c := &Checker{mesh: s.Mesh, services: make(map[string]*model.Service, len(s.Services)), rules: map[string][]*model.DestinationRule{},
		gateways: map[string]*model.Gateway{}, virtuals: make(map[string][]*model.VirtualService, len(s.VirtualServices)),
		edges: s.Gateways, ingress: s.Ingress, besideIstio: s.BesideIstio, rivals: rivals(s)}
	for _, svc := range s.Services {
		if c.services[svc.Host] == nil {
			c.services[svc.Host] = svc
		}
	}
	for _, list := range s.DestinationRules {
		for _, rule := range list {
			if strings.HasPrefix(rule.Host, "*") {
				c.wild = append(c.wild, rule)
				continue
			}
			c.rules[rule.Host] = append(c.rules[rule.Host], rule)
		}
	}
	for _, g := range s.Gateways {
		c.gateways[g.ID()] = g
	}
	for _, v := range s.VirtualServices {
		if !slices.Contains(v.Gateways, model.MeshGateway) {
			continue
		}
		for _, h := range v.Hosts {
			c.virtuals[h] = append(c.virtuals[h], v)
		}
	}
	return c
}

// Check says what is wrong with an object, by itself and in the mesh. Only errors keep it out.
func (c *Checker) Check(o inputs.Object) []report.Issue {
	if !c.mine(o) {
		return nil
	}
	issues := c.alone(o)
	if !report.HasErrors(issues) {
		return append(issues, c.context(o)...)
	}
	if c.besideIstio { // the object may be the other's, who may understand it
		issues = slices.Clone(issues)
		for i := range issues {
			issues[i].Severity = report.Warning
		}
	}
	return issues
}

// alone judges an object without looking at others.
func (c *Checker) alone(o inputs.Object) []report.Issue {
	var issues []report.Issue
	switch o := o.(type) {
	case *inputs.VirtualService:
		_, issues = istioapi.ReadVirtualService(o, c.mesh)
	case *inputs.DestinationRule:
		_, issues = istioapi.ReadDestinationRule(o, c.mesh)
	case *inputs.Gateway:
		_, issues = istioapi.ReadGateway(o, c.mesh)
	case *inputs.ServiceEntry:
		_, issues = istioapi.ReadServiceEntry(o, c.mesh)
	case *inputs.WorkloadEntry:
		_, issues = istioapi.ReadWorkloadEntry(o, c.mesh)
	case *inputs.Sidecar:
		_, issues = istioapi.ReadSidecar(o, c.mesh)
	case *inputs.PeerAuthentication:
		_, issues = security.PeerAuthentication(o, c.mesh)
	case *inputs.AuthorizationPolicy:
		_, issues = security.Authorization(o, c.mesh)
	case *inputs.Telemetry:
		_, issues = mesh.Telemetry(o, c.mesh, c.services != nil)
	case *inputs.ProxyConfig:
		_, issues = mesh.ProxyConfig(o)
	case *inputs.WorkloadGroup:
		issues = istioapi.ReadWorkloadGroup(o, c.mesh)
	case *inputs.Ingress:
		issues = c.readIngress(o)
	case *inputs.IngressClass:
		issues = ingress.ReadClass(o)
	case *inputs.Unimplemented:
		issues = unimplemented(o)
	}
	return issues
}

// context warns of what an object says about others. Nothing here is an error, so that the order of applying never matters.
func (c *Checker) context(o inputs.Object) []report.Issue {
	log := &report.Log{}
	if c.services == nil {
		return nil
	}
	switch o := o.(type) {
	case *inputs.VirtualService:
		c.virtualService(log, o)
	case *inputs.DestinationRule:
		c.destinationRule(log, o)
	case *inputs.ServiceEntry:
		c.serviceEntry(log, o)
	case *inputs.Gateway:
		c.gateway(log, o)
	case *inputs.Ingress:
		c.ingressContext(log, o)
	case *inputs.Sidecar:
		c.selectedBefore(log, o, "spec.workloadSelector", o.Spec.GetWorkloadSelector().GetLabels())
	case *inputs.PeerAuthentication:
		c.selectedBefore(log, o, "spec.selector", o.Spec.GetSelector().GetMatchLabels())
	case *inputs.Telemetry:
		c.selectedBefore(log, o, "spec.selector", o.Spec.GetSelector().GetMatchLabels())
	case *inputs.ProxyConfig:
		c.selectedBefore(log, o, "spec.selector", o.Spec.GetSelector().GetMatchLabels())
	}
	return log.Issues
}

func (c *Checker) serviceEntry(log *report.Log, o *inputs.ServiceEntry) {
	for i, h := range o.Spec.Hosts {
		if s := c.services[strings.ToLower(h)]; s != nil && s.From != nameOf(o) {
			kind := "ServiceEntry"
			if !s.Entry {
				kind = "Service"
			}
			log.Conflictf(report.Warning, indexed("spec.hosts", i), "%s is also the %s %s, which comes first", h, kind, s.From)
		}
	}
}

// hasSubset reports whether any rule for a host has a subset.
func (c *Checker) hasSubset(host, subset string) bool {
	has := func(rule *model.DestinationRule) bool {
		return slices.ContainsFunc(rule.Subsets, func(s *model.Subset) bool { return s.Name == subset })
	}
	return slices.ContainsFunc(c.rules[host], has) || slices.ContainsFunc(c.wild, func(rule *model.DestinationRule) bool {
		return model.HostIncludes(rule.Host, host) && has(rule)
	})
}
