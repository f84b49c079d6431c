package routes

import (
	"fmt"
	"maps"
	"slices"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// routeBuilder makes the routes of one virtual host.
type routeBuilder struct {
	Host
	gateway string // the one of Gateways by which the request came
	targets map[*model.Destination]Target
	made    map[alternative]bool // of matches that have a route by another gateway already: whether it catches all
}

// alternative is a match of a rule.
type alternative struct {
	rule *model.HTTPRoute
	n    int
}

// builder makes routes of what comes by the first gateway.
func (in Host) builder() routeBuilder {
	return routeBuilder{Host: in, gateway: in.Gateways.Slice()[0]}
}

// routes are the host's rules in order. Without any that can hold for this proxy and port, everything goes to the service.
func (in Host) routes() []*route.Route {
	b := routeBuilder{Host: in, targets: map[*model.Destination]Target{}, made: map[alternative]bool{}}
	for t := range in.Targets.All {
		if t.Ref != nil {
			b.targets[t.Ref] = t
		}
	}
	var out, last []*route.Route
	for i, vs := range in.Virtuals.Slice() {
		b.gateway = in.Gateways.Slice()[i]
		for _, r := range b.virtual(vs) {
			if in.Class.Router && catchesAll(r.Match) {
				last = append(last, r) // behind the rules of the other VirtualServices of the host
				continue
			}
			out = append(out, r)
		}
	}
	if out = append(out, last...); len(out) == 0 && in.Service != nil {
		return []*route.Route{b.plain()}
	}
	return out
}

// virtual returns the routes of one VirtualService.
func (b routeBuilder) virtual(vs *model.VirtualService) []*route.Route {
	var out []*route.Route
	for i, rule := range vs.HTTP {
		for j, m := range alternatives(rule) {
			if b.bars(vs, m) != "" {
				continue
			}
			this := alternative{rule, j}
			if all, made := b.made[this]; made {
				if all {
					return out
				}
				continue
			}
			r := b.route(rule, m)
			b.made[this] = catchesAll(r.Match)
			if !b.Class.Proxyless {
				r.Metadata = message.Rule(originOf(vs, i, j))
			}
			out = append(out, r)
			if b.made[this] {
				return out // what follows is never reached
			}
		}
	}
	return out
}

// alternatives are a rule's matches; one without conditions where it has none.
func alternatives(rule *model.HTTPRoute) []*model.HTTPMatch {
	if len(rule.Matches) == 0 {
		return []*model.HTTPMatch{{}}
	}
	return rule.Matches
}

// Place is where a user finds a match of a rule.
type Place struct {
	From model.Name // the object
	Rule string     // its path, "http[1].match[0]"
}

// Places are the matches of a VirtualService's http rules, in order.
func Places(vs *model.VirtualService) []Place {
	var out []Place
	for i, rule := range vs.HTTP {
		for j := range alternatives(rule) {
			from, path := originOf(vs, i, j)
			out = append(out, Place{from, path})
		}
	}
	return out
}

// originOf is where a user finds a match of a rule: the object and the path below its spec.
func originOf(vs *model.VirtualService, rule, match int) (model.Name, string) {
	r := vs.HTTP[rule]
	switch {
	case r.Origin != nil:
		return r.Origin.From, fmt.Sprintf("http[%d]", r.Origin.Index)
	case len(r.Matches) == 0:
		return vs.From, fmt.Sprintf("http[%d]", rule)
	}
	return vs.From, fmt.Sprintf("http[%d].match[%d]", rule, match)
}

// LeftOut is a match that a host's routes are made without.
type LeftOut struct {
	Place
	Why string
}

// LeftOut tells which matches of the host's VirtualServices can hold for no request of this client on this port, and why.
func (in Host) LeftOut() []LeftOut {
	b := in.builder()
	var out []LeftOut
	for vs := range in.Virtuals.All {
		for i, rule := range vs.HTTP {
			for j, m := range alternatives(rule) {
				if why := b.bars(vs, m); why != "" {
					from, path := originOf(vs, i, j)
					out = append(out, LeftOut{Place{from, path}, why})
				}
			}
		}
	}
	return out
}

// Obeys reports whether a VirtualService has a rule that can hold for this client and port.
func (in Host) Obeys(vs *model.VirtualService) bool { return in.Bars(vs) == "" }

// Bars says why a VirtualService has no rule that can hold for this client and port: what is against its first one. "": it has one.
func (in Host) Bars(vs *model.VirtualService) string {
	b := in.builder()
	first := ""
	for i, rule := range vs.HTTP {
		for j, m := range alternatives(rule) {
			why := b.bars(vs, m)
			if why == "" {
				return ""
			}
			if first == "" {
				_, path := originOf(vs, i, j)
				first = path + " " + why
			}
		}
	}
	return first
}

// bars says why a match can never hold for this proxy and port; "": it can.
func (b routeBuilder) bars(vs *model.VirtualService, m *model.HTTPMatch) string {
	gateways := vs.Gateways
	if m.Gateways != nil {
		gateways = m.Gateways
	}
	switch {
	case !slices.Contains(gateways, b.gateway):
		return "gateways: it is for others"
	case m.Port != 0 && m.Port != b.Port:
		return "port: it is for another"
	case m.Gateways != nil || b.Client.Holds(m.Source): // a match that names gateways is for all who come through them
		return ""
	case m.Source.Namespace != "" && m.Source.Namespace != b.Client.Namespace:
		return "sourceNamespace: the client is in another"
	}
	return "sourceLabels: the client does not have them"
}

// catchesAll reports whether a match has no condition.
func catchesAll(m *route.RouteMatch) bool {
	all := m.GetPrefix() == "/" || m.GetSafeRegex().GetRegex() == ".*"
	return all && len(m.Headers) == 0 && len(m.QueryParameters) == 0
}

// plain is the route of a service without rules.
func (b routeBuilder) plain() *route.Route {
	action := &route.RouteAction{
		ClusterSpecifier: &route.RouteAction_Cluster{Cluster: naming.Cluster(b.Service.Host, "", b.Port)},
		Timeout:          message.Duration(0), MaxStreamDuration: message.GRPCTimeout(0), HashPolicy: hashPolicies([]*model.HashKey{b.Hash}),
	}
	action.RetryPolicy = retryPolicy(b.Mesh.DefaultRetry, len(action.HashPolicy) > 0)
	return &route.Route{
		Name: "default", Match: message.AnyPath(), Action: &route.Route_Route{Route: action},
		Decorator:            &route.Decorator{Operation: b.Host.Host + ":" + naming.Port(b.Port) + "/*"},
		TypedPerFilterConfig: b.session(b.Service.Session),
	}
}

// route is one match of one rule.
func (b routeBuilder) route(rule *model.HTTPRoute, m *model.HTTPMatch) *route.Route {
	r := &route.Route{Name: routeName(rule.Name, m.Name), Match: routeMatch(m), Decorator: &route.Decorator{Operation: b.operation(m)}}
	if b.Class.Foreign && !b.Class.Proxyless {
		r.StatPrefix = m.StatPrefix // the metrics of heddle-proxy name services
	}
	headers := rule.Headers
	if len(rule.Destinations) == 1 {
		headers = then(headers, rule.Destinations[0].Headers)
	}
	r.RequestHeadersToAdd = headerOptions(headers.RequestSet, headers.RequestAdd)
	r.RequestHeadersToRemove = headers.RequestRemove
	r.ResponseHeadersToAdd = headerOptions(headers.ResponseSet, headers.ResponseAdd)
	r.ResponseHeadersToRemove = headers.ResponseRemove
	switch {
	case rule.Redirect != nil:
		r.Action = &route.Route_Redirect{Redirect: b.redirect(rule.Redirect)}
	case rule.Direct != nil:
		r.Action = &route.Route_DirectResponse{DirectResponse: directResponse(rule.Direct)}
	default:
		r.Action = &route.Route_Route{Route: b.forward(rule, headers)}
	}
	config := map[string]*anypb.Any{}
	if len(rule.Destinations) == 1 && r.GetRoute() != nil {
		maps.Copy(config, b.session(b.targets[rule.Destinations[0]].Session))
	}
	if rule.Fault != nil {
		config[message.FilterFault] = message.Any(faultConfig(rule.Fault))
	}
	if rule.CORS != nil && !b.Class.Proxyless { // gRPC refuses filters that it does not know
		config[message.FilterCORS] = message.Any(corsConfig(rule.CORS))
	}
	if len(config) > 0 {
		r.TypedPerFilterConfig = config
	}
	return r
}

// routeName is what the access log calls a route.
func routeName(rule, match string) string {
	switch {
	case match == "":
		return rule
	case rule == "":
		return match
	}
	return rule + "." + match
}

// operation names a span.
func (b routeBuilder) operation(m *model.HTTPMatch) string {
	path := "/*"
	if p := m.Path; p != nil {
		path = p.Value
		if p.Kind == model.MatchPrefix || p.Kind == model.MatchPathPrefix {
			path += "*"
		}
	}
	return b.Host.Host + ":" + naming.Port(b.Port) + path
}

// forward is a rule that sends requests on.
func (b routeBuilder) forward(rule *model.HTTPRoute, headers model.Headers) *route.RouteAction {
	action := &route.RouteAction{Timeout: message.Duration(0), MaxStreamDuration: message.GRPCTimeout(0)}
	if rule.Timeout != nil {
		action.Timeout, action.MaxStreamDuration = message.Duration(*rule.Timeout), message.GRPCTimeout(*rule.Timeout)
		if b.Class.Foreign && !b.Class.Proxyless { // Envoy reads timeout only where max_stream_duration is absent
			//lint:ignore SA1019 what replaces it is what must be absent
			action.MaxStreamDuration, action.MaxGrpcTimeout = nil, message.Duration(*rule.Timeout)
		}
	}
	if rewrite(action, rule.Rewrite); headers.Host != "" && action.HostRewriteSpecifier == nil {
		action.HostRewriteSpecifier = &route.RouteAction_HostRewriteLiteral{HostRewriteLiteral: headers.Host}
	}
	b.spread(action, rule.Destinations)
	retry := rule.Retry
	if retry == nil {
		retry = b.Mesh.DefaultRetry
	}
	action.RetryPolicy = retryPolicy(retry, len(action.HashPolicy) > 0)
	action.AppendXForwardedHost = b.Mesh.Headers.ForwardedHost && rehosts(action)
	for _, m := range rule.Mirrors {
		if m.Percent > 0 {
			action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, b.mirror(m))
		}
	}
	return action
}

// rehosts says whether requests go out for another host.
func rehosts(action *route.RouteAction) bool {
	return action.GetHostRewriteLiteral() != "" || slices.ContainsFunc(action.GetWeightedClusters().GetClusters(), func(w *route.WeightedCluster_ClusterWeight) bool {
		return w.GetHostRewriteLiteral() != ""
	})
}

// spread shares requests among destinations; those of weight zero get none.
func (b routeBuilder) spread(action *route.RouteAction, destinations []*model.Destination) {
	if len(destinations) == 1 {
		t := b.targets[destinations[0]]
		action.ClusterSpecifier = &route.RouteAction_Cluster{Cluster: t.Cluster}
		action.HashPolicy = hashPolicies([]*model.HashKey{t.Hash})
		return
	}
	group := &route.WeightedCluster{}
	var keys []*model.HashKey
	for _, d := range destinations {
		if d.Weight == 0 {
			continue
		}
		keys = append(keys, b.targets[d].Hash)
		w := &route.WeightedCluster_ClusterWeight{
			Name: b.targets[d].Cluster, Weight: message.U32(d.Weight),
			RequestHeadersToAdd:     headerOptions(d.Headers.RequestSet, d.Headers.RequestAdd),
			RequestHeadersToRemove:  d.Headers.RequestRemove,
			ResponseHeadersToAdd:    headerOptions(d.Headers.ResponseSet, d.Headers.ResponseAdd),
			ResponseHeadersToRemove: d.Headers.ResponseRemove,
			TypedPerFilterConfig:    b.session(b.targets[d].Session),
		}
		if d.Headers.Host != "" && action.HostRewriteSpecifier == nil { // the rule's goes first, as with one destination
			w.HostRewriteSpecifier = &route.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: d.Headers.Host}
		}
		group.Clusters = append(group.Clusters, w)
	}
	action.ClusterSpecifier = &route.RouteAction_WeightedClusters{WeightedClusters: group}
	action.HashPolicy = hashPolicies(keys)
}

func (b routeBuilder) mirror(m *model.Mirror) *route.RouteAction_RequestMirrorPolicy {
	return &route.RouteAction_RequestMirrorPolicy{
		Cluster: b.targets[&m.Destination].Cluster, RuntimeFraction: message.RuntimeFraction(m.Percent), DisableShadowHostSuffixAppend: true,
	}
}

// redirect answers with another location; ports that the scheme implies are left out.
func (b routeBuilder) redirect(r *model.Redirect) *route.RedirectAction {
	out := &route.RedirectAction{HostRedirect: r.Host, ResponseCode: redirectCode(r.Code), PortRedirect: uint32(r.Port)}
	if r.DerivePort == model.PortFromRequest && r.Port == 0 {
		out.PortRedirect = uint32(b.Port)
	}
	scheme := r.Scheme
	if scheme != "" {
		out.SchemeRewriteSpecifier = &route.RedirectAction_SchemeRedirect{SchemeRedirect: scheme}
	} else if b.TLS {
		scheme = "https"
	} else {
		scheme = "http"
	}
	if scheme == "http" && out.PortRedirect == 80 || scheme == "https" && out.PortRedirect == 443 {
		out.PortRedirect = 0
	}
	switch {
	case r.HasPrefix:
		out.PathRewriteSpecifier = &route.RedirectAction_PrefixRewrite{PrefixRewrite: r.PathPrefix}
	case r.Path != "":
		out.PathRewriteSpecifier = &route.RedirectAction_PathRedirect{PathRedirect: r.Path}
	}
	return out
}

func redirectCode(code uint32) route.RedirectAction_RedirectResponseCode {
	switch code {
	case 302:
		return route.RedirectAction_FOUND
	case 303:
		return route.RedirectAction_SEE_OTHER
	case 307:
		return route.RedirectAction_TEMPORARY_REDIRECT
	case 308:
		return route.RedirectAction_PERMANENT_REDIRECT
	}
	return route.RedirectAction_MOVED_PERMANENTLY
}
