package forward

import (
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

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
