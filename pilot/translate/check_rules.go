package translate

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
)

// destinationRule warns of a host that is not there, and of Secrets that the sidecars which obey the rule do not get.
func (c *Checker) destinationRule(log *report.Log, o *inputs.DestinationRule, strangers []strange) {
	host := c.host(o.Spec.Host, o.Namespace)
	c.ownership(log, o, strangers)
	c.contested(log, o, host)
	svc := c.services[host]
	if svc == nil {
		if !strings.HasPrefix(host, "*") {
			log.Missingf(report.Warning, "spec.host", "%s is not a known host", host)
			log.As(report.UnknownRuleHost)
		}
		return
	}
	nameless(log, "spec.trafficPolicy.tls", svc, o.Spec.GetTrafficPolicy().GetTls(), 0)
	for i, p := range o.Spec.GetTrafficPolicy().GetPortLevelSettings() {
		nameless(log, indexed("spec.trafficPolicy.portLevelSettings", i)+".tls", svc, p.GetTls(), p.GetPort().GetNumber())
	}
	everybodys := svc.Namespace == o.Namespace || o.Namespace == c.mesh.RootNamespace // others obey it at home only, as gateways do
	if o.Spec.WorkloadSelector != nil || !everybodys {
		return
	}
	forGateways(log, "spec.trafficPolicy", o.Spec.TrafficPolicy)
	for i, s := range o.Spec.Subsets {
		forGateways(log, indexed("spec.subsets", i)+".trafficPolicy", s.TrafficPolicy)
	}
}

// contested tells of what other rules of the namespace have for the same host: older ones that this one is merged into, and one that comes first.
func (c *Checker) contested(log *report.Log, o *inputs.DestinationRule, host string) {
	others := c.rulesOf(o.Namespace, host)
	if alone := len(others) == 1 && len(others[0].From) == 1 && others[0].From[0] == nameOf(o); alone || len(others) == 0 {
		return
	}
	own, _ := istioapi.ReadDestinationRule(o, c.mesh)
	last := -1 // the last that it is part of
	for i, rule := range others {
		if slices.Contains(rule.From, own.From[0]) {
			last = i
		}
	}
	for _, rule := range others {
		merged := slices.Contains(rule.From, own.From[0]) || last < 0 && rule.Clients != model.NoClients && rule.Export.Within(own.Export)
		for _, part := range rule.Brought() {
			if part.From == own.From[0] || !merged || !sameSelector(rule, own) {
				break // the others are younger
			}
			claimedBefore(log, part, own)
		}
	}
	for _, rule := range slices.Backward(others[last+1:]) {
		if last >= 0 && sameSelector(rule, own) && rule.Export.Meets(own.Export) {
			log.Conflictf(report.Warning, "spec.host", "%s comes first for %s wherever both are visible", rule.From[0], host)
			return
		}
	}
}

func sameSelector(rule *model.DestinationRule, own *istioapi.DestinationRule) bool {
	return (rule.Selector == nil) == (own.Selector == nil) && maps.Equal(rule.Selector, own.Selector)
}

// claimedBefore tells of what an older rule leaves nothing of in one that is merged into it.
func claimedBefore(log *report.Log, older model.RulePart, own *istioapi.DestinationRule) {
	if older.Policy && own.Policy != nil {
		log.Conflictf(report.Partial, "spec.trafficPolicy", "%s is older and has a policy for %s: this one is left out", older.From, own.Host)
	}
	for i, s := range own.Subsets {
		if slices.Contains(older.Subsets, s.Name) {
			log.Conflictf(report.Partial, indexed("spec.subsets", i), "%s is older and has a subset %q of %s: this one is left out", older.From, s.Name, own.Host)
		}
	}
}

// rulesOf are the rules of a namespace for a host, by precedence: of those without a selector the last comes first.
func (c *Checker) rulesOf(namespace, host string) []*model.DestinationRule {
	all := c.rules[host]
	if strings.HasPrefix(host, "*") {
		all = c.wild
	}
	var out []*model.DestinationRule
	for _, rule := range all {
		if rule.Host == host && rule.From[0].Namespace == namespace {
			out = append(out, rule)
		}
	}
	return out
}

// nameless warns of TLS towards servers that nobody names: a wildcard's, on a port whose connections carry no HTTP requests that would. port 0 is
// all ports.
func nameless(log *report.Log, path string, svc *model.Service, t *networking.ClientTLSSettings, port uint32) {
	named := t.GetSni() != "" || len(t.GetSubjectAltNames())+len(svc.SANs)+len(svc.DNSEndpoints) > 0 || t.GetInsecureSkipVerify().GetValue()
	if !originates(t) || named || svc.Resolution == model.ResolveNamed || !strings.HasPrefix(svc.Host, "*") {
		return
	}
	for _, p := range svc.Ports {
		if (port == 0 || port == uint32(p.Number)) && !p.Protocol.IsHTTP() && p.Protocol != model.Unknown {
			log.Warnf(path, "nothing names the servers of %s on port %d, so that none is accepted there: sni or subjectAltNames are needed", svc.Host, p.Number)
			return
		}
	}
}

func originates(t *networking.ClientTLSSettings) bool {
	return t.GetMode() == networking.ClientTLSSettings_SIMPLE || t.GetMode() == networking.ClientTLSSettings_MUTUAL
}

// forGateways warns of Secrets, which reach gateways of the rule's own namespace, and sidecars only where the rule selects them.
func forGateways(log *report.Log, path string, p *networking.TrafficPolicy) {
	warn := func(path string, t *networking.ClientTLSSettings) {
		if t.GetCredentialName() != "" && originates(t) {
			log.Warnf(path+".tls.credentialName",
				"for gateways of this namespace: any other proxy that no workloadSelector chooses shows no certificate and checks the server by the system's roots")
		}
	}
	warn(path, p.GetTls())
	for i, q := range p.GetPortLevelSettings() {
		warn(indexed(path+".portLevelSettings", i), q.GetTls())
	}
}
