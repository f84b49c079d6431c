package forward

import (
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestRateLimitedIsNotRetried: what an upstream's rate limit has refused is sent again where the policy names that, and for no other reason.
func TestRateLimitedIsNotRetried(t *testing.T) {
	for _, status := range []int{200, 409, 429, 503} {
		for on, want := range map[route.RetryOn]bool{
			route.On5xx | route.OnGatewayError | route.OnRetriable4xx | route.OnConnectFailure:      false,
			route.OnRetriableStatusCodes | route.OnRetriableHeaders:                                 false,
			route.OnGRPCUnavailable:                                                                 false,
			route.OnEnvoyRatelimited:                                                                true,
			route.OnRetriableStatusCodes | route.OnEnvoyRatelimited | route.OnGRPCResourceExhausted: true,
		} {
			r := request(config.HTTP{}, "GET /", "content-type: application/grpc", retriableNames+": x-again")
			r.x.GRPC = true
			r.route = &route.Route{Retry: &route.Retry{On: on, Codes: []int{status}, Attempts: 1}}
			r.x.Upstream.Cluster = &exchange.ClusterInfo{}
			r.outgoing()
			r.x.Response.Status = status
			for _, name := range []string{"x-envoy-ratelimited", "x-again"} {
				r.x.Response.Add(name, "1")
			}
			r.x.Response.Add("grpc-status", "14")
			if got := r.wanted(r.route.Retry, exchange.OK, nil); got != want {
				t.Errorf("%d, conditions %b: sent again: %v, want %v", status, on, got, want)
			}
		}
	}
}

// TestRetriesByResponseFields: conditions on fields of a response hold for what the policy names, and for nothing else.
func TestRetriesByResponseFields(t *testing.T) {
	const names = retriableNames + ": x-again, X-Later"
	for says, c := range map[string]struct {
		on       route.RetryOn
		request  string // field of the request
		response string
		want     bool
	}{
		"rate limited":                   {on: route.OnEnvoyRatelimited, response: "x-envoy-ratelimited", want: true},
		"not rate limited":               {on: route.OnEnvoyRatelimited, response: "x-other"},
		"rate limited, unasked":          {on: route.OnGatewayError, response: "x-envoy-ratelimited"},
		"a field that the request names": {on: route.OnRetriableHeaders, request: names, response: "x-later", want: true},
		"another field":                  {on: route.OnRetriableHeaders, request: names, response: "x-late"},
		"no field named":                 {on: route.OnRetriableHeaders, request: retriableNames + ": ,", response: "x-again"},
		"a request that names none":      {on: route.OnRetriableHeaders, response: "x-again"},
		"a policy that does not ask":     {on: route.OnGatewayError, request: names, response: "x-again"},
	} {
		t.Run(says, func(t *testing.T) {
			fields := []string{"a: b"}
			if c.request != "" {
				fields = append(fields, c.request)
			}
			r := request(config.HTTP{StripMesh: true}, "GET /", fields...)
			r.route = &route.Route{Retry: &route.Retry{On: c.on, Attempts: 1}}
			r.x.Upstream.Cluster = &exchange.ClusterInfo{External: true}
			r.outgoing()
			r.x.Response.Status = 429
			r.x.Response.Add(c.response, "1")
			if got := r.wanted(r.route.Retry, exchange.OK, nil); got != c.want {
				t.Errorf("sent again: %v, want %v", got, c.want)
			}
			if r.x.Request.Has(retriableNames) {
				t.Error("the names went on")
			}
		})
	}
}
