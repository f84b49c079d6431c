// Package authz says in RBAC who may do what: AuthorizationPolicies in force for one workload, as filters for requests and for connections.
// It does not choose which policies those are.
package authz

import (
	"fmt"
	"slices"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbachttp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	rbactcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const (
	filterRBAC = "envoy.filters.network.rbac"
	httpRBAC   = "envoy.filters.http.rbac"
)

// Guard is the authorization of one workload.
type Guard struct {
	Mesh     *model.Mesh
	Policies []*model.Authorization
}

// HTTP returns the filters that judge requests: DENY first, then ALLOW.
func (g Guard) HTTP() []*hcm.HttpFilter {
	var out []*hcm.HttpFilter
	for _, action := range []model.Action{model.Deny, model.Allow} {
		if rules := g.rules(action, true); rules != nil {
			out = append(out, message.HTTPFilter(httpRBAC, &rbachttp.RBAC{Rules: rules}))
		}
	}
	return out
}

// TCP returns the filters that judge connections whose content is not looked at.
func (g Guard) TCP() []*listener.Filter {
	var out []*listener.Filter
	for _, action := range []model.Action{model.Deny, model.Allow} {
		if rules := g.rules(action, false); rules != nil {
			out = append(out, message.NetworkFilter(filterRBAC, &rbactcp.RBAC{Rules: rules, StatPrefix: "tcp."}))
		}
	}
	return out
}

// rules joins the policies of one action. Nil: there is none, and nothing to judge.
func (g Guard) rules(action model.Action, http bool) *rbac.RBAC {
	out := &rbac.RBAC{Action: rbac.RBAC_ALLOW, Policies: map[string]*rbac.Policy{}}
	if action == model.Deny {
		out.Action = rbac.RBAC_DENY
	}
	found := false
	for _, p := range g.Policies {
		if p.Action != action {
			continue
		}
		found = true
		made := 0
		for _, rule := range p.Rules {
			if policy := g.policy(rule, action, http); policy != nil {
				out.Policies[policyName(p, rule.Index)] = policy
				made++
			}
		}
		if made == 0 && action == model.Allow { // it counts, and matches nobody
			out.Policies[policyName(p, 0)] = nobody()
		}
	}
	if !found || action == model.Deny && len(out.Policies) == 0 {
		return nil
	}
	return out
}

func policyName(p *model.Authorization, rule int) string {
	return fmt.Sprintf("ns[%s]-policy[%s]-rule[%d]", p.From.Namespace, p.From.Name, rule)
}

func nobody() *rbac.Policy {
	return &rbac.Policy{
		Permissions: []*rbac.Permission{notPermission(anyPermission())},
		Principals:  []*rbac.Principal{notPrincipal(anyPrincipal())},
	}
}

// judged is one rule in the making. A field that cannot be judged (without HTTP, one that needs it) makes an ALLOW rule unusable and is dropped from a
// DENY rule.
type judged struct {
	Guard
	http   bool
	unfit  bool // a field was met that cannot be judged
	permit []*rbac.Permission
	who    []*rbac.Principal
}

// needsHTTP notes a field that only HTTP has and reports whether it can be judged.
func (j *judged) needsHTTP() bool {
	j.unfit = j.unfit || !j.http
	return j.http
}

// policy is one rule: any of To, any of From, and every When.
func (g Guard) policy(rule *model.Rule, action model.Action, http bool) *rbac.Policy {
	j := &judged{Guard: g, http: http}
	for _, c := range rule.When {
		j.condition(c)
	}
	out := &rbac.Policy{}
	to, from := rule.To, rule.From
	if len(to) == 0 {
		to = []*model.RuleOperation{{}}
	}
	if len(from) == 0 {
		from = []*model.RuleSource{{}}
	}
	for _, o := range to {
		out.Permissions = append(out.Permissions, allPermissions(slices.Concat(j.operation(o), j.permit)))
	}
	for _, s := range from {
		out.Principals = append(out.Principals, allPrincipals(slices.Concat(j.source(s), j.who)))
	}
	if j.unfit && action == model.Allow {
		return nil
	}
	return out
}

// operation is what is asked for.
func (j *judged) operation(o *model.RuleOperation) []*rbac.Permission {
	var out []*rbac.Permission
	add := func(v model.Values, make func(model.StringMatch) *rbac.Permission) {
		if !v.IsZero() && j.needsHTTP() {
			out = append(out, permissions(v, make)...)
		}
	}
	add(o.Hosts, hostPermission)
	add(o.Methods, func(s model.StringMatch) *rbac.Permission { return headerPermission(":method", s) })
	add(o.Paths, pathPermission)
	return append(out, portPermissions(o.Ports, o.NotPorts)...)
}

// source is who asks.
func (j *judged) source(s *model.RuleSource) []*rbac.Principal {
	out := principals(s.Principals, principalID)
	out = append(out, principals(s.Namespaces, namespaceID)...)
	out = append(out, principals(s.ServiceAccounts, accountID)...)
	out = append(out, principals(s.TrustDomains, trustDomainID)...)
	out = append(out, blockPrincipals(s.IPBlocks, peerAddress)...)
	return append(out, blockPrincipals(s.RemoteIPBlocks, remoteAddress)...)
}

// condition is one "when".
func (j *judged) condition(c *model.RuleCondition) {
	switch c.Key {
	case model.ConditionHeader:
		if j.needsHTTP() {
			j.who = append(j.who, principals(c.Values, func(s model.StringMatch) *rbac.Principal {
				return &rbac.Principal{Identifier: &rbac.Principal_Header{Header: headerValue(c.Header, s)}}
			})...)
		}
	case model.ConditionSourceIP:
		j.who = append(j.who, blockPrincipals(c.CIDRs, peerAddress)...)
	case model.ConditionRemoteIP:
		j.who = append(j.who, blockPrincipals(c.CIDRs, remoteAddress)...)
	case model.ConditionNamespace:
		j.who = append(j.who, principals(c.Values, namespaceID)...)
	case model.ConditionServiceAccount:
		j.who = append(j.who, principals(c.Values, accountID)...)
	case model.ConditionTrustDomain:
		j.who = append(j.who, principals(c.Values, trustDomainID)...)
	case model.ConditionPrincipal:
		j.who = append(j.who, principals(c.Values, principalID)...)
	case model.ConditionDestinationIP:
		j.permit = append(j.permit, blockPermissions(c.CIDRs)...)
	case model.ConditionDestinationPort:
		j.permit = append(j.permit, portPermissions(c.Ports, c.NotPorts)...)
	case model.ConditionSNI:
		j.permit = append(j.permit, permissions(c.Values, sniPermission)...)
	case model.ConditionMetadata:
		j.unfit = true
	default: // a key that nobody here knows must not widen anything
		j.permit = append(j.permit, notPermission(anyPermission()))
	}
}
