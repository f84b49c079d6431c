package translate

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/ingress"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/machines"
	"github.com/heddle-mesh/heddle/pilot/translate/mesh"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
	"github.com/heddle-mesh/heddle/pilot/translate/security"
)

// Checker judges single objects against a mesh: the same judgement that Translate puts into its report. It is immutable.
type Checker struct {
	*facts
	snapshot *model.Snapshot
	edges    []*model.Gateway
	rivals   map[string][]rival // by kind and namespace, the oldest first
	// delegates are VirtualServices whose rules stand in the place of those of others.
	delegates map[model.Name]*istioapi.VirtualService
	// besideIstio: nothing is refused at apply time while Istio's control plane runs in the cluster too.
	besideIstio bool
	ingress     *model.Ingress
}

// NewChecker judges objects by themselves only. One of a whole mesh is its Memo's.
func NewChecker() *Checker {
	return &Checker{ingress: &model.Ingress{}, facts: &facts{mesh: &model.Mesh{TrustDomain: wire.DefaultTrustDomain, RootNamespace: wire.SystemNamespace,
		ClusterDomain: wire.DefaultClusterDomain, Ingress: model.IngressSettings{Class: wire.IngressClass}}}}
}

// newChecker indexes what a run has found. What did not change since the last one, whose Checker may be nil, is taken over.
func (r *run) newChecker(last *Checker) *Checker {
	s := r.snap
	c := &Checker{snapshot: s, edges: s.Gateways, ingress: s.Ingress, besideIstio: s.BesideIstio, rivals: rivals(s), delegates: r.delegates}
	if last == nil {
		c.facts = newFacts(s, 1)
	} else {
		c.facts = last.facts.next(last.snapshot, s)
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
		return slices.Concat(issues, c.merged(o), c.context(o))
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
		_, issues = registry.ReadServiceEntry(o, c.mesh)
	case *inputs.WorkloadEntry:
		_, issues = registry.ReadWorkloadEntry(o, c.mesh)
	case *inputs.Sidecar:
		_, issues = istioapi.ReadSidecar(o, c.mesh)
	case *inputs.PeerAuthentication:
		_, issues = security.PeerAuthentication(o, c.mesh)
	case *inputs.AuthorizationPolicy:
		issues = security.JudgeAuthorization(o, c.mesh)
	case *inputs.Telemetry:
		_, issues = mesh.Telemetry(o, c.mesh, c.services != nil)
	case *inputs.ProxyConfig:
		_, issues = mesh.ProxyConfig(o)
	case *inputs.WorkloadGroup:
		_, issues = machines.Read(o, c.mesh)
	case *inputs.Ingress:
		issues = c.readIngress(o)
	case *inputs.IngressClass:
		issues = ingress.ReadClass(o)
	case *inputs.Unimplemented:
		issues = unimplemented(o)
	}
	return issues
}

// merged says which rules of delegates are left out, as whoever merges them does.
func (c *Checker) merged(o inputs.Object) []report.Issue {
	root, ok := o.(*inputs.VirtualService)
	if !ok || c.services == nil || !slices.ContainsFunc(root.Spec.Http, func(h *networking.HTTPRoute) bool { return h.GetDelegate() != nil }) {
		return nil
	}
	v, _ := istioapi.ReadVirtualService(root, c.mesh)
	if v.IsDelegate() {
		return nil
	}
	_, issues := istioapi.MergeDelegates(v, c.delegates)
	return issues
}

// context warns of what an object says about others. Nothing here is an error, so that the order of applying never matters.
func (c *Checker) context(o inputs.Object) []report.Issue {
	if c.services == nil {
		return nil
	}
	log := &report.Log{}
	c.byFacts(log, o)
	c.besides(log, o)
	return log.Issues
}

// byFacts warns of what follows from facts alone. It returns the strangers among the object's hosts.
func (c *Checker) byFacts(log *report.Log, o inputs.Object) []strange {
	strangers := c.strangers(o)
	switch o := o.(type) {
	case *inputs.VirtualService:
		c.virtualService(log, o, strangers)
	case *inputs.DestinationRule:
		c.destinationRule(log, o, strangers)
	case *inputs.ServiceEntry:
		c.serviceEntry(log, o)
	}
	return strangers
}

// besides warns of the rest.
func (c *Checker) besides(log *report.Log, o inputs.Object) {
	switch o := o.(type) {
	case *inputs.Gateway:
		c.gateway(log, o)
	case *inputs.Ingress:
		c.ingressContext(log, o)
	case *inputs.Sidecar:
		c.selectedBefore(log, o, "spec.workloadSelector", o.Spec.GetWorkloadSelector().GetLabels())
		c.ownTLS(log, o)
		c.unheard(log, o)
		if p := o.Spec.GetOutboundTrafficPolicy().GetEgressProxy(); p != nil {
			c.destination(log, o.Namespace, p, func() string { return "spec.outboundTrafficPolicy.egressProxy" })
		}
	case *inputs.PeerAuthentication:
		c.selectedBefore(log, o, "spec.selector", o.Spec.GetSelector().GetMatchLabels())
	case *inputs.Telemetry:
		c.selectedBefore(log, o, "spec.selector", o.Spec.GetSelector().GetMatchLabels())
	case *inputs.ProxyConfig:
		c.selectedBefore(log, o, "spec.selector", o.Spec.GetSelector().GetMatchLabels())
	}
}

// kept is what there was to say about an object the last time. It belongs to a Memo.
type kept struct {
	number      uint64         // of the facts
	hosts       []string       // that the object looks at
	byFacts     []report.Issue // that follow from them
	strange     []strange      // likewise
	base, entry *report.Entry  // what the last issues made of an entry
	issues      []report.Issue
}

// remember is context for an object that was looked at before.
func (c *Checker) remember(o inputs.Object, k *kept) []report.Issue {
	if !c.stillHold(k) {
		log := &report.Log{}
		k.strange = c.byFacts(log, o)
		k.hosts, k.byFacts = c.hostsOf(o), slices.Clip(log.Issues)
	}
	k.number = c.number
	log := &report.Log{Issues: k.byFacts}
	c.besides(log, o)
	return log.Issues
}

// extend is extend for an entry that may have been extended before.
func (k *kept) extend(e *report.Entry, issues []report.Issue) *report.Entry {
	if len(issues) == 0 {
		return e
	}
	if k.base != e || !slices.Equal(k.issues, issues) {
		k.base, k.issues, k.entry = e, issues, extend(e, issues)
	}
	return k.entry
}

func (c *Checker) serviceEntry(log *report.Log, o *inputs.ServiceEntry) {
	for i, h := range o.Spec.Hosts {
		if s := c.services[strings.ToLower(h)]; s != nil && s.From != nameOf(o) && !slices.Contains(s.Joined, nameOf(o)) {
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
		return rule.Clients != model.NoClients && slices.ContainsFunc(rule.Subsets, func(s *model.Subset) bool { return s.Name == subset })
	}
	return slices.ContainsFunc(c.rules[host], has) || slices.ContainsFunc(c.wild, func(rule *model.DestinationRule) bool {
		return model.HostIncludes(rule.Host, host) && has(rule)
	})
}
