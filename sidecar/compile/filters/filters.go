// Package filters reads what the filters of requests are told: by listeners, and by routes. It knows no listeners and no routes.
package filters

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	httprbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	sessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	cookiev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/cookie/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/header/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/sidecar/compile/permissions"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/cors"
	"github.com/heddle-mesh/heddle/sidecar/filter/fault"
	"github.com/heddle-mesh/heddle/sidecar/filter/grpcweb"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
	"github.com/heddle-mesh/heddle/sidecar/filter/ratelimit"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
	"github.com/heddle-mesh/heddle/sidecar/filter/session"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

// routeFilter makes a filter that routes may override.
func routeFilter(in *anypb.Any) (*filter.Named, error) {
	switch name := values.Word(string(in.MessageName())); name {
	case "HTTPFault":
		m, err := values.Open("fault", in, &faultv3.HTTPFault{})
		if err != nil {
			return nil, err
		}
		f, err := faultFilter(m)
		if err != nil {
			return nil, err
		}
		return &filter.Named{Kind: filter.Fault, Filter: f}, nil
	case "LocalRateLimit":
		m, err := values.Open("local_ratelimit", in, &ratelimitv3.LocalRateLimit{})
		if err != nil {
			return nil, err
		}
		f, err := rateLimit(m)
		if err != nil {
			return nil, err
		}
		return &filter.Named{Kind: filter.RateLimit, Filter: f}, nil
	case "StatefulSession":
		m, err := values.Open("stateful_session", in, &sessionv3.StatefulSession{})
		if err != nil {
			return nil, err
		}
		f, err := sessionFilter(m)
		if err != nil {
			return nil, err
		}
		return &filter.Named{Kind: filter.Session, Filter: f}, nil
	case "StatefulSessionPerRoute":
		m, err := values.Open("stateful_session", in, &sessionv3.StatefulSessionPerRoute{})
		if err != nil || m.GetDisabled() {
			return &filter.Named{Kind: filter.Session}, err
		}
		f, err := sessionFilter(m.GetStatefulSession())
		if err != nil {
			return nil, values.Under("stateful_session", err)
		}
		return &filter.Named{Kind: filter.Session, Filter: f}, nil
	case "Cors": // routes say everything
		f, err := cors.New(cors.Config{})
		if err != nil {
			return nil, values.Wrong("cors", "%w", err)
		}
		return &filter.Named{Kind: filter.CORS, Filter: f}, nil
	case "CorsPolicy":
		m, err := values.Open("cors", in, &corsv3.CorsPolicy{})
		if err != nil {
			return nil, err
		}
		f, err := corsFilter(m)
		if err != nil {
			return nil, err
		}
		return &filter.Named{Kind: filter.CORS, Filter: f}, nil
	default:
		return nil, values.Wrong("type", "%q is not implemented", name)
	}
}

// sessionFilter makes what keeps clients with their endpoints.
func sessionFilter(in *sessionv3.StatefulSession) (filter.HTTP, error) {
	c := session.Config{Strict: in.GetStrict()}
	state := in.GetSessionState().GetTypedConfig()
	switch name := values.Word(string(state.MessageName())); name {
	case "":
		if in.GetStrict() {
			return nil, values.Wrong("strict", "without session_state")
		}
	case "CookieBasedSessionState":
		m, err := values.Open("session_state.typed_config", state, &cookiev3.CookieBasedSessionState{})
		if err != nil {
			return nil, err
		}
		c.Cookie, c.Path, c.TTL = m.GetCookie().GetName(), m.GetCookie().GetPath(), m.GetCookie().GetTtl().AsDuration()
		if c.Cookie == "" {
			return nil, values.Wrong("session_state.typed_config.cookie.name", "it is empty")
		}
	case "HeaderBasedSessionState":
		m, err := values.Open("session_state.typed_config", state, &headerv3.HeaderBasedSessionState{})
		if err != nil {
			return nil, err
		}
		if c.Header = strings.ToLower(m.GetName()); c.Header == "" {
			return nil, values.Wrong("session_state.typed_config.name", "it is empty")
		}
	default:
		return nil, values.Wrong("session_state.typed_config", "%q is not implemented", name)
	}
	f, err := session.New(c)
	if err != nil {
		return nil, values.Wrong("session_state.typed_config", "%w", err)
	}
	return f, nil
}

// rateLimit makes a token bucket; one that is not enabled or not enforced by a share is so for none, as in Envoy.
func rateLimit(in *ratelimitv3.LocalRateLimit) (filter.HTTP, error) {
	bucket := in.GetTokenBucket()
	c := ratelimit.Config{Tokens: bucket.GetMaxTokens(), Fill: values.Number(bucket.GetTokensPerFill(), 1), Interval: bucket.GetFillInterval().AsDuration(),
		EnabledShare: values.PerMillion(in.GetFilterEnabled().GetDefaultValue()), EnforcedShare: values.PerMillion(in.GetFilterEnforced().GetDefaultValue()),
		Exhausted: in.GetRateLimitedAsResourceExhausted()}
	switch code := int(in.GetStatus().GetCode()); {
	case bucket != nil && c.Tokens == 0:
		return nil, values.Wrong("token_bucket.max_tokens", "0")
	case bucket != nil && c.Interval < shortestFill:
		return nil, values.Wrong("token_bucket.fill_interval", "%v is less than %v", c.Interval, shortestFill)
	case code >= 400: // below, Envoy says 429
		c.Status = code
	}
	var err error
	if c.Request, err = Additions("request_headers_to_add_when_not_enforced", in.GetRequestHeadersToAddWhenNotEnforced()); err != nil {
		return nil, err
	}
	if c.Response, err = Additions("response_headers_to_add", in.GetResponseHeadersToAdd()); err != nil {
		return nil, err
	}
	return ratelimit.New(c)
}

// shortestFill is Envoy's limit.
const shortestFill = 50 * time.Millisecond

// Overrides reads what a route or virtual host says to filters.
func Overrides(in map[string]*anypb.Any) ([]filter.Override, error) {
	var out []filter.Override
	for _, name := range slices.Sorted(maps.Keys(in)) {
		made, err := routeFilter(in[name])
		if err != nil {
			return nil, values.Under("typed_per_filter_config["+name+"]", err)
		}
		if f, is := made.Filter.(*ratelimit.Filter); is && f.Unlimited() {
			return nil, values.Wrong("typed_per_filter_config["+name+"].token_bucket", "it is missing")
		}
		out = append(out, filter.Override{Kind: made.Kind, Filter: made.Filter})
	}
	return out, nil
}

func faultFilter(in *faultv3.HTTPFault) (filter.HTTP, error) {
	c := fault.Config{Delay: in.GetDelay().GetFixedDelay().AsDuration(), DelayShare: values.PerMillion(in.GetDelay().GetPercentage()),
		AbortShare: values.PerMillion(in.GetAbort().GetPercentage())}
	if in.GetDelay().GetHeaderDelay() != nil {
		c.DelayUnit = values.Unit(in.GetDelay().GetPercentage())
	}
	switch e := in.GetAbort().GetErrorType().(type) {
	case *faultv3.FaultAbort_HeaderAbort_:
		c.AbortUnit = values.Unit(in.GetAbort().GetPercentage())
	case *faultv3.FaultAbort_HttpStatus:
		c.Status = int(e.HttpStatus)
	case *faultv3.FaultAbort_GrpcStatus:
		code := int(e.GrpcStatus)
		c.GRPC = &code
	}
	f, err := fault.New(c)
	if err != nil {
		return nil, values.Wrong("fault", "%w", err)
	}
	return f, nil
}

// said is a field's value, nil where it is absent.
func said(b *wrapperspb.BoolValue) *bool {
	if b == nil {
		return nil
	}
	return &b.Value
}

func corsFilter(in *corsv3.CorsPolicy) (filter.HTTP, error) {
	c := cors.Config{Methods: in.GetAllowMethods(), Headers: in.GetAllowHeaders(), Expose: in.GetExposeHeaders(),
		Credentials: said(in.GetAllowCredentials()), Forward: said(in.GetForwardNotMatchingPreflights())}
	if share := in.GetFilterEnabled(); share != nil && values.PerMillion(share.GetDefaultValue()) != 1_000_000 {
		return nil, values.Wrong("filter_enabled.default_value", "only 100 %% is implemented")
	}
	if in.GetMaxAge() != "" {
		if _, err := strconv.ParseUint(in.GetMaxAge(), 10, 31); err != nil {
			return nil, values.Wrong("max_age", "%w", err)
		}
		c.MaxAge = in.GetMaxAge()
	}
	for i, o := range in.GetAllowOriginStringMatch() {
		field := fmt.Sprintf("allow_origin_string_match[%d]", i)
		m, err := values.StringMatch(field, o)
		if err != nil {
			return nil, err
		}
		switch {
		case m.Kind == match.Exact && !m.IgnoreCase:
			c.Origins = append(c.Origins, cors.Origin{Exact: m.Value})
		case m.Kind == match.Prefix && !m.IgnoreCase:
			c.Origins = append(c.Origins, cors.Origin{Prefix: m.Value})
		case m.Kind == match.Regex:
			c.Origins = append(c.Origins, cors.Origin{Regex: m.Value})
		default:
			return nil, values.Wrong(field, "only exact, prefix and safe_regex are implemented")
		}
	}
	f, err := cors.New(c)
	if err != nil {
		return nil, values.Wrong("cors", "%w", err)
	}
	return f, nil
}

// HTTP makes one filter; nil where it would do nothing.
func HTTP(in *hcm.HttpFilter) (*filter.Named, error) {
	switch name := values.Word(string(in.GetTypedConfig().MessageName())); name {
	case "RBAC":
		message, err := values.Open("rules", in.GetTypedConfig(), &httprbac.RBAC{})
		if err != nil {
			return nil, err
		}
		c, err := permissions.Read(message.GetRules())
		if err != nil || c == nil {
			return nil, values.Within("rules", err)
		}
		f, err := rbac.New(*c)
		if err != nil {
			return nil, values.Under("rules", err)
		}
		kind := filter.Allow
		if c.Action == rbac.Deny {
			kind = filter.Deny
		}
		return &filter.Named{Kind: kind, Filter: f}, nil
	case "FilterConfig": // these are done elsewhere, or refused
		return nil, elsewhere(in.GetTypedConfig())
	case "GrpcWeb":
		return &filter.Named{Kind: filter.GRPCWeb, Filter: grpcweb.New()}, nil
	default:
		return routeFilter(in.GetTypedConfig())
	}
}

// Additions reads fields to add to heads.
func Additions(field string, in []*core.HeaderValueOption) ([]headers.Op, error) {
	var out []headers.Op
	for i, h := range in {
		op := headers.Op{Name: strings.ToLower(h.GetHeader().GetKey()), Value: h.GetHeader().GetValue()}
		switch h.GetAppendAction() {
		case core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			op.Action = headers.Append
			//lint:ignore SA1019 control planes still send it
			if !values.Boolean(h.GetAppend(), true) {
				op.Action = headers.Overwrite
			}
		case core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			op.Action = headers.Overwrite
		case core.HeaderValueOption_ADD_IF_ABSENT:
			op.Action = headers.IfAbsent
		case core.HeaderValueOption_OVERWRITE_IF_EXISTS:
			op.Action = headers.Replace
		default:
			return nil, values.Wrong(fmt.Sprintf("%s[%d].append_action", field, i), "%s is not implemented", h.GetAppendAction())
		}
		if op.Name == "" {
			return nil, values.Wrong(fmt.Sprintf("%s[%d].header.key", field, i), "it is empty")
		}
		out = append(out, op)
	}
	return out, nil
}
