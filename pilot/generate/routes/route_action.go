package routes

import (
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushosts "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	previouspriorities "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const (
	retriableCodes = "retriable-status-codes"
	hostPicks      = 5 // how often a retry looks for a host that was not tried
)

// retryPolicy says when to try again. Where requests are hashed, they stay with their host unless the user says otherwise.
func retryPolicy(r *model.Retry, hashed bool) *route.RetryPolicy {
	if r == nil || r.Attempts == 0 {
		return nil
	}
	on := r.On
	if len(r.Codes) > 0 && !slices.Contains(on, retriableCodes) {
		on = append(on[:len(on):len(on)], retriableCodes)
	}
	out := &route.RetryPolicy{
		RetryOn: strings.Join(on, ","), NumRetries: message.U32(r.Attempts), PerTryTimeout: message.Nonzero(r.PerTry), RetriableStatusCodes: r.Codes,
	}
	if r.IgnorePreviousHosts && (!hashed || r.IgnorePreviousGiven) {
		out.HostSelectionRetryMaxAttempts = hostPicks
		out.RetryHostPredicate = []*route.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &route.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: message.Any(&previoushosts.PreviousHostsPredicate{})},
		}}
	}
	if r.RemoteLocalities {
		out.RetryPriority = &route.RetryPolicy_RetryPriority{
			Name:       "envoy.retry_priorities.previous_priorities",
			ConfigType: &route.RetryPolicy_RetryPriority_TypedConfig{TypedConfig: message.Any(&previouspriorities.PreviousPrioritiesConfig{UpdateFrequency: 2})},
		}
	}
	if r.Backoff != 0 {
		out.RetryBackOff = &route.RetryPolicy_RetryBackOff{BaseInterval: message.Duration(r.Backoff)}
	}
	return out
}

// rewrite changes the request's path and authority.
func rewrite(action *route.RouteAction, r *model.Rewrite) {
	if r == nil {
		return
	}
	if r.HasURI {
		action.PrefixRewrite = r.URI
	}
	if r.Regex != "" {
		action.RegexRewrite = &matcher.RegexMatchAndSubstitute{Pattern: &matcher.RegexMatcher{Regex: r.Regex}, Substitution: r.Replace}
	}
	if r.Authority != "" {
		action.HostRewriteSpecifier = &route.RouteAction_HostRewriteLiteral{HostRewriteLiteral: r.Authority}
	}
}

// headerOptions are header operations: set replaces, add appends.
func headerOptions(set, add []model.HeaderOp) []*core.HeaderValueOption {
	var out []*core.HeaderValueOption
	option := func(op model.HeaderOp, action core.HeaderValueOption_HeaderAppendAction) {
		out = append(out, &core.HeaderValueOption{Header: &core.HeaderValue{Key: op.Key, Value: op.Value}, AppendAction: action})
	}
	for _, op := range set {
		option(op, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	for _, op := range add {
		option(op, core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	}
	return out
}

func directResponse(d *model.DirectResponse) *route.DirectResponseAction {
	out := &route.DirectResponseAction{Status: d.Status}
	if len(d.Body) > 0 {
		out.Body = &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: d.Body}}
	}
	return out
}
