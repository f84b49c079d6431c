package translate

import (
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
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
	defaults map[string]model.Name              // per kind and namespace, the oldest object without a selector
	edges    []*model.Gateway
}

// NewChecker indexes a snapshot. Without one, objects are judged by themselves only.
func NewChecker(s *model.Snapshot) *Checker {
	if s == nil {
		return &Checker{mesh: &model.Mesh{TrustDomain: wire.DefaultTrustDomain, RootNamespace: wire.SystemNamespace, ClusterDomain: wire.DefaultClusterDomain}}
	}
	c := &Checker{mesh: s.Mesh, services: make(map[string]*model.Service, len(s.Services)), rules: map[string][]*model.DestinationRule{},
		gateways: map[string]*model.Gateway{}, virtuals: make(map[string][]*model.VirtualService, len(s.VirtualServices)),
		defaults: map[string]model.Name{}, edges: s.Gateways}
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
	for _, p := range s.PeerAuthentications {
		c.oldest("PeerAuthentication", p.From, p.Selector)
	}
	for _, p := range s.Sidecars {
		c.oldest("Sidecar", p.From, p.Selector)
	}
	return c
}

func (c *Checker) oldest(kind string, from model.Name, selector model.Selector) {
	at := kind + "/" + from.Namespace
	if _, older := c.defaults[at]; selector == nil && !older {
		c.defaults[at] = from
	}
}

// Check says what is wrong with an object, by itself and in the mesh. Only errors keep it out.
func (c *Checker) Check(o inputs.Object) []report.Issue {
	issues := c.alone(o)
	if report.HasErrors(issues) {
		return issues
	}
	return append(issues, c.context(o)...)
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
		issues = mesh.Telemetry(o, c.mesh.RootNamespace, nil)
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
	case *inputs.Sidecar:
		if o.Spec.GetWorkloadSelector() == nil {
			c.onlyDefault(log, o, "Sidecar")
		}
	case *inputs.PeerAuthentication:
		if len(o.Spec.GetSelector().GetMatchLabels()) == 0 {
			c.onlyDefault(log, o, "PeerAuthentication")
		}
	}
	return log.Issues
}

// onlyDefault warns of a second object for a whole namespace, which has no effect.
func (c *Checker) onlyDefault(log *report.Log, o inputs.Object, kind string) {
	if older, ok := c.defaults[kind+"/"+o.GetNamespace()]; ok && older != nameOf(o) {
		log.Warnf("spec", "without effect: %s is older and also for the whole namespace", older)
	}
}

func (c *Checker) serviceEntry(log *report.Log, o *inputs.ServiceEntry) {
	for i, h := range o.Spec.Hosts {
		if s := c.services[strings.ToLower(h)]; s != nil && s.From != nameOf(o) {
			kind := "ServiceEntry"
			if !s.Entry {
				kind = "Service"
			}
			log.Warnf(indexed("spec.hosts", i), "%s is also the %s %s, which comes first", h, kind, s.From)
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
