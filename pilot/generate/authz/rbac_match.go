package authz

import (
	"regexp"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	uritemplate "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const scheme = "spiffe://"

func anyPermission() *rbac.Permission {
	return &rbac.Permission{Rule: &rbac.Permission_Any{Any: true}}
}

func notPermission(p *rbac.Permission) *rbac.Permission {
	return &rbac.Permission{Rule: &rbac.Permission_NotRule{NotRule: p}}
}

// allPermissions needs every one; none is any.
func allPermissions(all []*rbac.Permission) *rbac.Permission {
	if len(all) == 0 {
		return anyPermission()
	}
	return &rbac.Permission{Rule: &rbac.Permission_AndRules{AndRules: &rbac.Permission_Set{Rules: all}}}
}

func anOf(some []*rbac.Permission) *rbac.Permission {
	return &rbac.Permission{Rule: &rbac.Permission_OrRules{OrRules: &rbac.Permission_Set{Rules: some}}}
}

func anyPrincipal() *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_Any{Any: true}}
}

func notPrincipal(p *rbac.Principal) *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_NotId{NotId: p}}
}

func allPrincipals(all []*rbac.Principal) *rbac.Principal {
	if len(all) == 0 {
		return anyPrincipal()
	}
	return &rbac.Principal{Identifier: &rbac.Principal_AndIds{AndIds: &rbac.Principal_Set{Ids: all}}}
}

func oneOf(some []*rbac.Principal) *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_OrIds{OrIds: &rbac.Principal_Set{Ids: some}}}
}

// permissions is a field: one of its values, and none of its "not" values.
func permissions(v model.Values, make func(model.StringMatch) *rbac.Permission) []*rbac.Permission {
	var out []*rbac.Permission
	if some := each(v.Any, make); some != nil {
		out = append(out, anOf(some))
	}
	if some := each(v.None, make); some != nil {
		out = append(out, notPermission(anOf(some)))
	}
	return out
}

func principals(v model.Values, make func(model.StringMatch) *rbac.Principal) []*rbac.Principal {
	var out []*rbac.Principal
	if some := each(v.Any, make); some != nil {
		out = append(out, oneOf(some))
	}
	if some := each(v.None, make); some != nil {
		out = append(out, notPrincipal(oneOf(some)))
	}
	return out
}

func blockPermissions(blocks model.CIDRs) []*rbac.Permission {
	address := func(s string) *rbac.Permission {
		return &rbac.Permission{Rule: &rbac.Permission_DestinationIp{DestinationIp: message.CIDR(s)}}
	}
	var out []*rbac.Permission
	if some := each(blocks.Any, address); some != nil {
		out = append(out, anOf(some))
	}
	if some := each(blocks.None, address); some != nil {
		out = append(out, notPermission(anOf(some)))
	}
	return out
}

func blockPrincipals(blocks model.CIDRs, make func(*core.CidrRange) *rbac.Principal) []*rbac.Principal {
	address := func(s string) *rbac.Principal { return make(message.CIDR(s)) }
	var out []*rbac.Principal
	if some := each(blocks.Any, address); some != nil {
		out = append(out, oneOf(some))
	}
	if some := each(blocks.None, address); some != nil {
		out = append(out, notPrincipal(oneOf(some)))
	}
	return out
}

func each[A, B any](in []A, make func(A) B) []B {
	var out []B
	for _, a := range in {
		out = append(out, make(a))
	}
	return out
}

// peerAddress is the address of the other end of the connection.
func peerAddress(c *core.CidrRange) *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_DirectRemoteIp{DirectRemoteIp: c}}
}

// remoteAddress is the client's address as trusted proxies tell it.
func remoteAddress(c *core.CidrRange) *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_RemoteIp{RemoteIp: c}}
}

func portPermissions(ports, notPorts []uint16) []*rbac.Permission {
	port := func(p uint16) *rbac.Permission {
		return &rbac.Permission{Rule: &rbac.Permission_DestinationPort{DestinationPort: uint32(p)}}
	}
	var out []*rbac.Permission
	if some := each(ports, port); some != nil {
		out = append(out, anOf(some))
	}
	if some := each(notPorts, port); some != nil {
		out = append(out, notPermission(anOf(some)))
	}
	return out
}

// headerValue compares a header's value; any value is also an empty one.
func headerValue(name string, s model.StringMatch) *route.HeaderMatcher {
	if s.Kind == model.MatchNonEmpty || s.Kind == model.MatchPresent {
		return &route.HeaderMatcher{Name: name, HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true}}
	}
	return &route.HeaderMatcher{Name: name, HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: message.String(s)}}
}

func headerPermission(name string, s model.StringMatch) *rbac.Permission {
	return &rbac.Permission{Rule: &rbac.Permission_Header{Header: headerValue(name, s)}}
}

// hostPermission compares the authority without regard to case and to the port that a client may append.
func hostPermission(s model.StringMatch) *rbac.Permission {
	expression := "(?i)" + pattern(s, ".*", ".+") + "(:[0-9]+)?"
	return &rbac.Permission{Rule: &rbac.Permission_Header{Header: &route.HeaderMatcher{
		Name: ":authority", HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: message.Regex(expression)},
	}}}
}

func pathPermission(s model.StringMatch) *rbac.Permission {
	if s.Kind == model.MatchTemplate {
		template := strings.NewReplacer("{**}", "**", "{*}", "*").Replace(s.Value)
		return &rbac.Permission{Rule: &rbac.Permission_UriTemplate{UriTemplate: &core.TypedExtensionConfig{
			Name: "uri-template", TypedConfig: message.Any(&uritemplate.UriTemplateMatchConfig{PathTemplate: template}),
		}}}
	}
	return &rbac.Permission{Rule: &rbac.Permission_UrlPath{UrlPath: &matcher.PathMatcher{
		Rule: &matcher.PathMatcher_Path{Path: message.String(s)},
	}}}
}

func sniPermission(s model.StringMatch) *rbac.Permission {
	return &rbac.Permission{Rule: &rbac.Permission_RequestedServerName{RequestedServerName: message.String(s)}}
}

// authenticated is a peer whose certificate was verified and has a name that matches.
func authenticated(m *matcher.StringMatcher) *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_Authenticated_{Authenticated: &rbac.Principal_Authenticated{PrincipalName: m}}}
}

// principalID compares the whole identity.
func principalID(s model.StringMatch) *rbac.Principal {
	switch s.Kind {
	case model.MatchNonEmpty, model.MatchPresent:
		return authenticated(message.Regex(".+"))
	case model.MatchExact, model.MatchPrefix:
		s.Value = scheme + s.Value
		return authenticated(message.String(s))
	}
	return authenticated(message.Regex(scheme + pattern(s, ".*", ".+")))
}

// namespaceID looks for /ns/NAMESPACE/ anywhere in the identity.
func namespaceID(s model.StringMatch) *rbac.Principal {
	return authenticated(message.Regex(scheme + ".*/ns/" + pattern(s, ".*", ".*") + "/.*"))
}

// accountID compares namespace/account, between and after which there may be more.
func accountID(s model.StringMatch) *rbac.Principal {
	namespace, account, _ := strings.Cut(s.Value, "/")
	return authenticated(message.Regex(scheme + ".+/ns/" + regexp.QuoteMeta(namespace) + "/(?:.+/)?sa/" + regexp.QuoteMeta(account) + "(?:/.+)?"))
}

// trustDomainID compares what the identity begins with.
func trustDomainID(s model.StringMatch) *rbac.Principal {
	switch s.Kind {
	case model.MatchNonEmpty, model.MatchPresent:
		return authenticated(message.StartsWith(scheme))
	case model.MatchExact:
		return authenticated(message.StartsWith(scheme + s.Value + "/"))
	}
	return authenticated(message.Regex(scheme + pattern(s, "[^/]*", "[^/]+") + "/.*"))
}

// pattern is a string match as part of an expression: rest stands for what a prefix or suffix leaves open, some for any value.
func pattern(s model.StringMatch, rest, some string) string {
	quoted := regexp.QuoteMeta(s.Value)
	switch s.Kind {
	case model.MatchPrefix:
		return quoted + rest
	case model.MatchSuffix:
		return rest + quoted
	case model.MatchNonEmpty, model.MatchPresent:
		return some
	case model.MatchRegex:
		return "(?:" + s.Value + ")"
	}
	return quoted
}
