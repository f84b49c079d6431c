// Package permissions reads the rules of RBAC filters. It judges nobody.
package permissions

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	template "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
)

// Read reads RBAC rules. Absent rules let everything pass and yield nil.
func Read(in *rbacv3.RBAC) (*rbac.Config, error) {
	if in == nil {
		return nil, nil
	}
	out := &rbac.Config{}
	switch in.GetAction() {
	case rbacv3.RBAC_ALLOW:
		out.Action = rbac.Allow
	case rbacv3.RBAC_DENY:
		out.Action = rbac.Deny
	default:
		return nil, values.Wrong("action", "%s is not implemented", in.GetAction())
	}
	for _, name := range slices.Sorted(maps.Keys(in.GetPolicies())) {
		p := in.GetPolicies()[name]
		field := "policies[" + name + "]"
		permissions, err := rules(field+".permissions", p.GetPermissions(), permission)
		if err != nil {
			return nil, err
		}
		principals, err := rules(field+".principals", p.GetPrincipals(), principal)
		if err != nil {
			return nil, err
		}
		out.Policies = append(out.Policies, rbac.Policy{Name: name, Permissions: permissions, Principals: principals})
	}
	return out, nil
}

func rules[M any](field string, in []M, read func(field string, in M) (rbac.Rule, error)) ([]rbac.Rule, error) {
	out := make([]rbac.Rule, 0, len(in))
	for i, m := range in {
		r, err := read(fmt.Sprintf("%s[%d]", field, i), m)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func permission(field string, in *rbacv3.Permission) (r rbac.Rule, err error) {
	switch p := in.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return always(field+".any", p.Any)
	case *rbacv3.Permission_AndRules:
		r.Kind = rbac.And
		r.Rules, err = rules(field+".and_rules.rules", p.AndRules.GetRules(), permission)
	case *rbacv3.Permission_OrRules:
		r.Kind = rbac.Or
		r.Rules, err = rules(field+".or_rules.rules", p.OrRules.GetRules(), permission)
	case *rbacv3.Permission_NotRule:
		r.Kind = rbac.Not
		r.Rules, err = rules(field+".not_rule", []*rbacv3.Permission{p.NotRule}, permission)
	case *rbacv3.Permission_Header:
		return Header(field+".header", p.Header)
	case *rbacv3.Permission_UrlPath:
		r.Kind = rbac.Path
		r.Match, err = values.StringMatch(field+".url_path.path", p.UrlPath.GetPath())
	case *rbacv3.Permission_UriTemplate:
		t, openErr := values.Open(field+".uri_template.typed_config", p.UriTemplate.GetTypedConfig(), &template.UriTemplateMatchConfig{})
		r.Kind, r.Pattern, err = rbac.Template, t.GetPathTemplate(), openErr
	case *rbacv3.Permission_DestinationIp:
		r.Kind = rbac.DestinationIP
		r.Prefix, err = values.Prefix(field+".destination_ip", p.DestinationIp)
	case *rbacv3.Permission_DestinationPort:
		if p.DestinationPort > 65535 {
			return r, values.Wrong(field+".destination_port", "%d is no port", p.DestinationPort)
		}
		r.Kind, r.Port = rbac.DestinationPort, uint16(p.DestinationPort)
	case *rbacv3.Permission_RequestedServerName:
		r.Kind = rbac.ServerName
		r.Match, err = values.StringMatch(field+".requested_server_name", p.RequestedServerName)
	default:
		err = values.Wrong(field, "it permits nothing that is implemented")
	}
	return r, err
}

func principal(field string, in *rbacv3.Principal) (r rbac.Rule, err error) {
	switch p := in.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return always(field+".any", p.Any)
	case *rbacv3.Principal_AndIds:
		r.Kind = rbac.And
		r.Rules, err = rules(field+".and_ids.ids", p.AndIds.GetIds(), principal)
	case *rbacv3.Principal_OrIds:
		r.Kind = rbac.Or
		r.Rules, err = rules(field+".or_ids.ids", p.OrIds.GetIds(), principal)
	case *rbacv3.Principal_NotId:
		r.Kind = rbac.Not
		r.Rules, err = rules(field+".not_id", []*rbacv3.Principal{p.NotId}, principal)
	case *rbacv3.Principal_Authenticated_:
		r.Kind = rbac.Peer
		if name := p.Authenticated.GetPrincipalName(); name != nil && name.GetSafeRegex().GetRegex() != anyName {
			r.Kind = rbac.Principal
			r.Match, err = values.StringMatch(field+".authenticated.principal_name", name)
		}
	case *rbacv3.Principal_DirectRemoteIp:
		r.Kind = rbac.DirectSource
		r.Prefix, err = values.Prefix(field+".direct_remote_ip", p.DirectRemoteIp)
	case *rbacv3.Principal_RemoteIp:
		r.Kind = rbac.Source
		r.Prefix, err = values.Prefix(field+".remote_ip", p.RemoteIp)
	case *rbacv3.Principal_Header:
		return Header(field+".header", p.Header)
	default:
		err = values.Wrong(field, "it names nobody in a way that is implemented")
	}
	return r, err
}

// anyName is a principal that every certificate has.
const anyName = ".+"

func always(field string, any bool) (rbac.Rule, error) {
	if !any {
		return rbac.Rule{}, values.Wrong(field, "it must be true")
	}
	return rbac.Rule{Kind: rbac.Any}, nil
}

// Header reads a condition on a header.
func Header(field string, in *routev3.HeaderMatcher) (rbac.Rule, error) {
	r := rbac.Rule{Kind: rbac.Header, Name: strings.ToLower(in.GetName()), Invert: in.GetInvertMatch(), MissingAsEmpty: in.GetTreatMissingHeaderAsEmpty()}
	switch m := in.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_StringMatch:
		var err error
		r.Match, err = values.StringMatch(field+".string_match", m.StringMatch)
		return r, err
	case *routev3.HeaderMatcher_PresentMatch:
		r.Present = true
		r.Invert = r.Invert != !m.PresentMatch
		return r, nil
	case nil:
		r.Present = true
		return r, nil
	}
	return r, values.Wrong(field, "only string_match and present_match are implemented")
}
