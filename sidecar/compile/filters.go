package compile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/cors"
	"github.com/heddle-mesh/heddle/sidecar/filter/fault"
	"github.com/heddle-mesh/heddle/sidecar/filter/ratelimit"
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
	if c.Request, err = additions("request_headers_to_add_when_not_enforced", in.GetRequestHeadersToAddWhenNotEnforced()); err != nil {
		return nil, err
	}
	if c.Response, err = additions("response_headers_to_add", in.GetResponseHeadersToAdd()); err != nil {
		return nil, err
	}
	return ratelimit.New(c)
}

// shortestFill is Envoy's limit.
const shortestFill = 50 * time.Millisecond

// overrides reads what a route or virtual host says to filters.
func overrides(in map[string]*anypb.Any) ([]filter.Override, error) {
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
	switch e := in.GetAbort().GetErrorType().(type) {
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

func corsFilter(in *corsv3.CorsPolicy) (filter.HTTP, error) {
	c := cors.Config{Methods: in.GetAllowMethods(), Headers: in.GetAllowHeaders(), Expose: in.GetExposeHeaders(),
		Credentials: in.GetAllowCredentials().GetValue(), IgnoreForeign: !values.Boolean(in.GetForwardNotMatchingPreflights(), true)}
	if in.GetFilterEnabled() != nil {
		return nil, values.Wrong("filter_enabled", "not implemented")
	}
	if in.GetMaxAge() != "" {
		seconds, err := strconv.ParseUint(in.GetMaxAge(), 10, 31)
		if err != nil {
			return nil, values.Wrong("max_age", "%w", err)
		}
		c.MaxAge = time.Duration(seconds) * time.Second
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
