package compile

import (
	"fmt"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/balancing"
	"github.com/heddle-mesh/heddle/sidecar/compile/conditions"
	"github.com/heddle-mesh/heddle/sidecar/compile/filters"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// routes makes the description of a route table.
func (b *builder) routes(in *routev3.RouteConfiguration) (route.Config, error) {
	out := route.Config{Name: in.GetName(), IgnorePort: in.GetIgnorePortInHostMatching(), OnDemand: in.GetVhds() != nil}
	if in.GetValidateClusters().GetValue() {
		return out, values.Wrong("validate_clusters", "not implemented")
	}
	var err error
	if out.Request, out.Response, err = headerOps(in); err != nil {
		return out, err
	}
	if out.OnDemand && (in.GetVhds().GetConfigSource().GetAds() == nil || len(out.Request.Add)+len(out.Request.Remove)+len(out.Response.Add)+len(out.Response.Remove) > 0) {
		return out, values.Wrong("vhds", "only over ads, and without header operations beside it")
	}
	for i, host := range in.GetVirtualHosts() {
		made, err := b.virtualHost(host)
		if err != nil {
			return out, values.Under(fmt.Sprintf("virtual_hosts[%d]", i), err)
		}
		out.VirtualHosts = append(out.VirtualHosts, made)
	}
	return out, nil
}

func (b *builder) virtualHost(in *routev3.VirtualHost) (route.VirtualHostConfig, error) {
	out := route.VirtualHostConfig{Name: in.GetName(), Domains: in.GetDomains(), AttemptCount: in.GetIncludeRequestAttemptCount()}
	switch in.GetRequireTls() {
	case routev3.VirtualHost_NONE:
	case routev3.VirtualHost_ALL:
		out.RequireTLS = true
	default:
		return out, values.Wrong("require_tls", "%s is not implemented", in.GetRequireTls())
	}
	var err error
	if out.Request, out.Response, err = headerOps(in); err != nil {
		return out, err
	}
	if out.Retry, err = conditions.Retry(in.GetRetryPolicy()); err != nil {
		return out, values.Under("retry_policy", err)
	}
	if out.Overrides, err = filters.Overrides(in.GetTypedPerFilterConfig()); err != nil {
		return out, err
	}
	for i, r := range in.GetRoutes() {
		made, err := b.route(r)
		if err != nil {
			return out, values.Under(fmt.Sprintf("routes[%d]", i), err)
		}
		out.Routes = append(out.Routes, made)
	}
	return out, nil
}

func (b *builder) route(in *routev3.Route) (route.RouteConfig, error) {
	out := route.RouteConfig{Name: in.GetName(), Origin: origin(in.GetMetadata()), Operation: in.GetDecorator().GetOperation()}
	var err error
	if out.Match, err = routeMatch(in.GetMatch()); err != nil {
		return out, values.Under("match", err)
	}
	if out.Request, out.Response, err = headerOps(in); err != nil {
		return out, err
	}
	if out.Overrides, err = filters.Overrides(in.GetTypedPerFilterConfig()); err != nil {
		return out, err
	}
	switch action := in.GetAction().(type) {
	case *routev3.Route_Route:
		if err := b.forward(action.Route, &out); err != nil {
			return out, values.Under("route", err)
		}
	case *routev3.Route_Redirect:
		if out.Redirect, err = redirect(action.Redirect); err != nil {
			return out, values.Under("redirect", err)
		}
	case *routev3.Route_DirectResponse:
		out.Direct = &route.Direct{Status: int(action.DirectResponse.GetStatus())}
		switch body := action.DirectResponse.GetBody().GetSpecifier().(type) {
		case *core.DataSource_InlineString:
			out.Direct.Body = []byte(body.InlineString)
		case *core.DataSource_InlineBytes:
			out.Direct.Body = body.InlineBytes
		case nil:
		default:
			return out, values.Wrong("direct_response.body", "only inline content is implemented")
		}
	default:
		return out, values.Wrong("action", "a route needs one")
	}
	return out, nil
}

// origin is the user's rule that something was made of.
func origin(in *core.Metadata) route.Origin {
	facts := values.Texts(in.GetFilterMetadata()[wire.RuleMetadata])
	return route.Origin{Object: facts[wire.RuleObject], Rule: facts[wire.RulePath]}
}

func routeMatch(in *routev3.RouteMatch) (route.Match, error) {
	out := route.Match{IgnoreCase: !values.Boolean(in.GetCaseSensitive(), true), GRPC: in.GetGrpc() != nil}
	switch p := in.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		out.PathKind, out.Path = route.Prefix, p.Prefix
	case *routev3.RouteMatch_Path:
		out.PathKind, out.Path = route.Exact, p.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		out.PathKind, out.Path = route.SegmentPrefix, p.PathSeparatedPrefix
	case *routev3.RouteMatch_SafeRegex:
		out.PathKind, out.Path, out.IgnoreCase = route.Regex, p.SafeRegex.GetRegex(), false
	default:
		return out, values.Wrong("path_specifier", "a match needs one that is implemented")
	}
	var err error
	if out.Headers, err = conditions.Headers("headers", in.GetHeaders()); err != nil {
		return out, err
	}
	for i, q := range in.GetQueryParameters() {
		field := fmt.Sprintf("query_parameters[%d]", i)
		made := route.QueryMatch{Name: q.GetName(), Match: route.StringMatch{Kind: route.StringPresent}}
		switch m := q.GetQueryParameterMatchSpecifier().(type) {
		case *routev3.QueryParameterMatcher_StringMatch:
			c, err := values.StringMatch(field+".string_match", m.StringMatch)
			if err != nil {
				return out, err
			}
			made.Match = conditions.Value(c)
		case *routev3.QueryParameterMatcher_PresentMatch:
			if !m.PresentMatch {
				return out, values.Wrong(field+".present_match", "false is not implemented")
			}
		}
		out.Query = append(out.Query, made)
	}
	if f := in.GetRuntimeFraction(); f != nil {
		share := values.PerMillion(f.GetDefaultValue())
		out.Fraction = &share
	}
	return out, nil
}

// forward reads a route's way to clusters.
func (b *builder) forward(in *routev3.RouteAction, out *route.RouteConfig) error {
	var err error
	if out.Clusters, err = b.weighted(in); err != nil {
		return err
	}
	out.Timeout = values.Duration(in.GetTimeout(), defaultTimeout(in))
	out.Idle, out.MaxStream = values.Optional(in.GetIdleTimeout()), values.Optional(in.GetMaxStreamDuration().GetMaxStreamDuration())
	out.GRPC = conditions.GRPCTimeout(in)
	if out.Retry, err = conditions.Retry(in.GetRetryPolicy()); err != nil {
		return values.Under("retry_policy", err)
	}
	if out.Mirrors, err = b.mirrors(in.GetRequestMirrorPolicies()); err != nil {
		return err
	}
	if out.Hash, err = balancing.HashPolicies(in.GetHashPolicy()); err != nil {
		return err
	}
	switch code := in.GetClusterNotFoundResponseCode(); code {
	case routev3.RouteAction_SERVICE_UNAVAILABLE:
	case routev3.RouteAction_NOT_FOUND:
		out.Missing = 404
	case routev3.RouteAction_INTERNAL_SERVER_ERROR:
		out.Missing = 500
	default:
		return values.Wrong("cluster_not_found_response_code", "%s is not implemented", code)
	}
	if in.GetPrefixRewrite() != "" {
		prefix := in.GetPrefixRewrite()
		out.Rewrite.Prefix = &prefix
	}
	out.Rewrite.Regex = regexRewrite(in.GetRegexRewrite())
	out.Rewrite.Host, out.Rewrite.AutoHost = in.GetHostRewriteLiteral(), in.GetAutoHostRewrite().GetValue()
	out.Rewrite.TellHost = in.GetAppendXForwardedHost()
	return nil
}

// defaultTimeout is Envoy's for routes without a timeout: none beside max_stream_duration.
func defaultTimeout(in *routev3.RouteAction) time.Duration {
	if in.GetMaxStreamDuration() != nil {
		return 0
	}
	return 15 * time.Second
}

func (b *builder) weighted(in *routev3.RouteAction) ([]route.Weighted, error) {
	switch c := in.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		b.needs.clusters[c.Cluster] = true
		return []route.Weighted{{Cluster: c.Cluster, Weight: 1}}, nil
	case *routev3.RouteAction_WeightedClusters:
		var out []route.Weighted
		var total uint64
		for i, w := range c.WeightedClusters.GetClusters() {
			field := fmt.Sprintf("weighted_clusters.clusters[%d]", i)
			request, response, err := headerOps(w)
			if err != nil {
				return nil, values.Under(field, err)
			}
			per, err := filters.Overrides(w.GetTypedPerFilterConfig())
			if err != nil {
				return nil, values.Under(field, err)
			}
			b.needs.clusters[w.GetName()] = true
			total += uint64(w.GetWeight().GetValue())
			out = append(out, route.Weighted{Cluster: w.GetName(), Weight: w.GetWeight().GetValue(), Request: request, Response: response,
				Rewrite: w.GetHostRewriteLiteral(), Overrides: per})
		}
		if total == 0 {
			return nil, values.Wrong("weighted_clusters", "the weights sum to zero")
		}
		return out, nil
	}
	return nil, values.Wrong("cluster_specifier", "a route needs one that is implemented")
}

func (b *builder) mirrors(in []*routev3.RouteAction_RequestMirrorPolicy) ([]route.Mirror, error) {
	var out []route.Mirror
	for i, m := range in {
		if m.GetCluster() == "" {
			return nil, values.Wrong(fmt.Sprintf("request_mirror_policies[%d].cluster", i), "it is empty")
		}
		b.needs.clusters[m.GetCluster()] = true
		made := route.Mirror{Cluster: m.GetCluster(), Fraction: 1_000_000, Shadow: !m.GetDisableShadowHostSuffixAppend()}
		if f := m.GetRuntimeFraction(); f != nil {
			made.Fraction = values.PerMillion(f.GetDefaultValue())
		}
		out = append(out, made)
	}
	return out, nil
}

func regexRewrite(in *matcher.RegexMatchAndSubstitute) *route.RegexRewrite {
	if in == nil {
		return nil
	}
	return &route.RegexRewrite{Pattern: in.GetPattern().GetRegex(), Substitution: in.GetSubstitution()}
}

func redirect(in *routev3.RedirectAction) (*route.Redirect, error) {
	out := &route.Redirect{Scheme: in.GetSchemeRedirect(), Host: in.GetHostRedirect(), Port: in.GetPortRedirect(), Path: in.GetPathRedirect(),
		StripQuery: in.GetStripQuery()}
	if in.GetHttpsRedirect() {
		out.Scheme = "https"
	}
	if p, ok := in.GetPathRewriteSpecifier().(*routev3.RedirectAction_PrefixRewrite); ok {
		out.Prefix = &p.PrefixRewrite
	}
	status, known := map[routev3.RedirectAction_RedirectResponseCode]int{
		routev3.RedirectAction_MOVED_PERMANENTLY: 301, routev3.RedirectAction_FOUND: 302, routev3.RedirectAction_SEE_OTHER: 303,
		routev3.RedirectAction_TEMPORARY_REDIRECT: 307, routev3.RedirectAction_PERMANENT_REDIRECT: 308,
	}[in.GetResponseCode()]
	if !known {
		return nil, values.Wrong("response_code", "%s is not implemented", in.GetResponseCode())
	}
	out.Status = status
	return out, nil
}

// headered is a message with header operations.
type headered interface {
	GetRequestHeadersToAdd() []*core.HeaderValueOption
	GetRequestHeadersToRemove() []string
	GetResponseHeadersToAdd() []*core.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

func headerOps(in headered) (request, response headers.Config, err error) {
	if request.Add, err = filters.Additions("request_headers_to_add", in.GetRequestHeadersToAdd()); err != nil {
		return request, response, err
	}
	if response.Add, err = filters.Additions("response_headers_to_add", in.GetResponseHeadersToAdd()); err != nil {
		return request, response, err
	}
	request.Remove, response.Remove = lower(in.GetRequestHeadersToRemove()), lower(in.GetResponseHeadersToRemove())
	return request, response, nil
}

func lower(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strings.ToLower(n))
	}
	return out
}
