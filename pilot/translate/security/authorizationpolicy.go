package security

import (
	"fmt"
	"strconv"

	security "istio.io/api/security/v1beta1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// DryRunAnnotation asks for a policy that is logged and not enforced.
const DryRunAnnotation = "istio.io/dry-run"

var authorizationFields = fields.New(
	"selector.matchLabels", "action",
	"rules.from.source.{principals,notPrincipals,namespaces,notNamespaces,serviceAccounts,notServiceAccounts,"+
		"ipBlocks,notIpBlocks,remoteIpBlocks,notRemoteIpBlocks,trustDomains,notTrustDomains}",
	"rules.to.operation.{hosts,notHosts,ports,notPorts,methods,notMethods,paths,notPaths}",
	"rules.when.{key,values,notValues}",
)

// Authorization translates one object. With errors an ALLOW policy has no rules, so that it counts and allows nobody, and any
// other denies all that it selects. Nil: the policy decides nothing (AUDIT, dry run), which is reported.
func Authorization(o *inputs.AuthorizationPolicy, mesh *model.Mesh) (*model.Authorization, []report.Issue) {
	return authorization(o, mesh, false)
}

// JudgeAuthorization is what is wrong with a policy that is about to be applied: what Istio refuses then, and obeys where it is there already, is an error.
func JudgeAuthorization(o *inputs.AuthorizationPolicy, mesh *model.Mesh) []report.Issue {
	_, issues := authorization(o, mesh, true)
	return issues
}

func authorization(o *inputs.AuthorizationPolicy, mesh *model.Mesh, applying bool) (*model.Authorization, []report.Issue) {
	r, spec := &reader{fields.Read(o, mesh)}, o.Spec
	authorizationFields.Check(spec, "spec", &r.Log)
	out := &model.Authorization{
		From:     model.Name{Namespace: o.Namespace, Name: o.Name},
		Selector: values.Selector(&r.Log, "spec.selector.matchLabels", spec.GetSelector().GetMatchLabels()),
	}
	doubt := r.Warnf
	if applying {
		doubt = r.Errorf
	}
	if spec.Action == security.AuthorizationPolicy_DENY && len(spec.Rules) == 0 && !r.Failed() {
		doubt("spec.rules", "DENY without rules denies nothing; an empty rule, {}, denies everything")
	}
	if r.dryRun(o.Annotations, doubt) {
		r.Partialf("metadata.annotations["+DryRunAnnotation+"]", "the policy is not enforced, and this version does not log what it would decide")
		return nil, r.Issues
	}
	switch spec.Action {
	case security.AuthorizationPolicy_ALLOW:
		out.Action = model.Allow
	case security.AuthorizationPolicy_DENY:
		out.Action = model.Deny
	case security.AuthorizationPolicy_AUDIT:
		r.Errorf("spec.action", "AUDIT: not implemented by this version; it would decide nothing")
		return nil, r.Issues
	default: // CUSTOM, and what nobody knows: somebody else would have had to say yes
		r.Errorf("spec.action", "%s: not implemented by this version", spec.Action)
		out.Action = model.Deny
	}
	for i, rule := range spec.Rules {
		out.Rules = append(out.Rules, r.rule(fmt.Sprintf("spec.rules[%d]", i), i, rule))
	}
	if r.Failed() {
		closed(out)
	}
	return out, r.Issues
}

// dryRun reports whether a policy is not to be enforced; one that may be meant so, yet does not say it, is enforced.
func (r *reader) dryRun(annotations map[string]string, doubt func(path, format string, args ...any)) bool {
	said, given := annotations[DryRunAnnotation]
	dry, err := strconv.ParseBool(said)
	if given && err != nil {
		doubt("metadata.annotations["+DryRunAnnotation+"]", "%q: true or false expected; the policy is enforced", said)
	}
	return dry && err == nil
}

// closed makes a policy let nobody through.
func closed(a *model.Authorization) {
	a.Rules = nil
	if a.Action == model.Deny {
		a.Rules = []*model.Rule{{}}
	}
}

func (r *reader) rule(path string, index int, rule *security.Rule) *model.Rule {
	out := &model.Rule{Index: index}
	if rule == nil {
		return out
	}
	for i, f := range rule.From {
		p := fmt.Sprintf("%s.from[%d].source", path, i)
		out.From = append(out.From, r.source(p, f.GetSource()))
	}
	for i, t := range rule.To {
		p := fmt.Sprintf("%s.to[%d].operation", path, i)
		out.To = append(out.To, r.operation(p, t.GetOperation()))
	}
	for i, w := range rule.When {
		out.When = append(out.When, r.condition(fmt.Sprintf("%s.when[%d]", path, i), w))
	}
	return out
}

func (r *reader) source(path string, s *security.Source) *model.RuleSource {
	if s == nil || isEmpty(s.ProtoReflect()) {
		r.Errorf(path, "something must be given; leave from out to match every source")
		return &model.RuleSource{}
	}
	out := &model.RuleSource{
		Principals:      r.principals(path+".principals", s.Principals, s.NotPrincipals),
		Namespaces:      r.namespaces(path+".namespaces", s.Namespaces, s.NotNamespaces),
		ServiceAccounts: r.accounts(path+".serviceAccounts", s.ServiceAccounts, s.NotServiceAccounts),
		TrustDomains:    r.trustDomains(path+".trustDomains", s.TrustDomains, s.NotTrustDomains),
		IPBlocks:        r.cidrs(path+".ipBlocks", s.IpBlocks, s.NotIpBlocks),
		RemoteIPBlocks:  r.cidrs(path+".remoteIpBlocks", s.RemoteIpBlocks, s.NotRemoteIpBlocks),
	}
	r.withoutPath(path+".trustDomains", s.TrustDomains)
	r.withoutPath(path+".notTrustDomains", s.NotTrustDomains)
	if len(s.ServiceAccounts)+len(s.NotServiceAccounts) > 0 && len(s.Principals)+len(s.NotPrincipals)+len(s.Namespaces)+len(s.NotNamespaces) > 0 {
		r.Errorf(path+".serviceAccounts", "contradicts principals and namespaces")
	}
	return out
}

func (r *reader) operation(path string, o *security.Operation) *model.RuleOperation {
	if o == nil || isEmpty(o.ProtoReflect()) {
		r.Errorf(path, "something must be given; leave to out to match every operation")
		return &model.RuleOperation{}
	}
	return &model.RuleOperation{
		Hosts:    ignoreCase(r.values(path+".hosts", o.Hosts, o.NotHosts)),
		Methods:  r.values(path+".methods", o.Methods, o.NotMethods),
		Paths:    r.paths(path+".paths", o.Paths, o.NotPaths),
		Ports:    r.ports(path+".ports", o.Ports),
		NotPorts: r.ports(path+".notPorts", o.NotPorts),
	}
}
