package routes

import (
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// routeMatch is the conditions of a request-time match; ports, gateways and sources were decided before.
func routeMatch(m *model.HTTPMatch) *route.RouteMatch {
	out := pathMatch(m.Path)
	pseudo := func(name string, s *model.StringMatch) {
		if s != nil {
			out.Headers = append(out.Headers, headerMatch(model.KeyMatch{Key: name, Match: *s}))
		}
	}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, headerMatch(h))
	}
	pseudo(":method", m.Method)
	pseudo(":authority", m.Authority)
	pseudo(":scheme", m.Scheme)
	for _, q := range m.Query {
		out.QueryParameters = append(out.QueryParameters, queryMatch(q))
	}
	return out
}

func pathMatch(path *model.StringMatch) *route.RouteMatch {
	if path == nil {
		return message.AnyPath()
	}
	out := &route.RouteMatch{}
	switch {
	case path.Kind == model.MatchExact:
		out.PathSpecifier = &route.RouteMatch_Path{Path: path.Value}
	case path.Kind == model.MatchRegex:
		out.PathSpecifier = &route.RouteMatch_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: path.Value}}
	case path.Kind == model.MatchPathPrefix && path.Value != "/":
		out.PathSpecifier = &route.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: path.Value}
	default:
		out.PathSpecifier = &route.RouteMatch_Prefix{Prefix: path.Value}
	}
	if path.IgnoreCase && path.Kind != model.MatchRegex {
		out.CaseSensitive = wrapperspb.Bool(false)
	}
	return out
}

func headerMatch(k model.KeyMatch) *route.HeaderMatcher {
	out := &route.HeaderMatcher{Name: k.Key, InvertMatch: k.Invert}
	if k.Match.Kind == model.MatchPresent {
		out.HeaderMatchSpecifier = &route.HeaderMatcher_PresentMatch{PresentMatch: true}
		return out
	}
	out.HeaderMatchSpecifier = &route.HeaderMatcher_StringMatch{StringMatch: message.String(k.Match)}
	out.TreatMissingHeaderAsEmpty = k.Invert
	return out
}

func queryMatch(k model.KeyMatch) *route.QueryParameterMatcher {
	out := &route.QueryParameterMatcher{Name: k.Key}
	if k.Match.Kind == model.MatchPresent {
		out.QueryParameterMatchSpecifier = &route.QueryParameterMatcher_PresentMatch{PresentMatch: true}
		return out
	}
	out.QueryParameterMatchSpecifier = &route.QueryParameterMatcher_StringMatch{StringMatch: message.String(k.Match)}
	return out
}
