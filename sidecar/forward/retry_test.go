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
			route.On5xx | route.OnGatewayError | route.OnRetriable4xx | route.OnConnectFailure: false,
			route.OnRetriableStatusCodes | route.OnRetriableHeaders:                            false,
			route.OnGRPCUnavailable:  false,
			route.OnEnvoyRatelimited: true,
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

// TestRetriesByMatches: responses are asked for again by what the policy matches in them, and requests that its own matches leave out never.
func TestRetriesByMatches(t *testing.T) {
	exact := func(name, value string) route.HeaderMatch {
		return route.HeaderMatch{Name: name, Match: route.StringMatch{Value: value}}
	}
	for says, c := range map[string]struct {
		on           route.RetryOn
		fields, only []route.HeaderMatch
		want         bool
	}{
		"a field's value":            {on: route.OnRetriableHeaders, fields: []route.HeaderMatch{exact("x-no", "1"), exact("x-again", "yes")}, want: true},
		"another value":              {on: route.OnRetriableHeaders, fields: []route.HeaderMatch{exact("x-again", "no")}},
		"the status":                 {on: route.OnRetriableHeaders, fields: []route.HeaderMatch{exact(":status", "429")}, want: true},
		"another status":             {on: route.OnRetriableHeaders, fields: []route.HeaderMatch{exact(":status", "503")}},
		"without the condition":      {on: route.OnGatewayError, fields: []route.HeaderMatch{exact("x-again", "yes")}},
		"one of the requests":        {on: route.OnRetriableStatusCodes, only: []route.HeaderMatch{exact("x-no", "1"), exact(":method", "GET")}, want: true},
		"none of the requests":       {on: route.OnRetriableStatusCodes, only: []route.HeaderMatch{exact(":method", "PUT")}},
		"a field of a wrong request": {on: route.OnRetriableHeaders, fields: []route.HeaderMatch{exact("x-again", "yes")}, only: []route.HeaderMatch{exact("a", "c")}},
		"a field of a right request": {on: route.OnRetriableHeaders, fields: []route.HeaderMatch{exact("x-again", "yes")}, only: []route.HeaderMatch{exact("a", "b")}, want: true},
	} {
		t.Run(says, func(t *testing.T) {
			r := request(config.HTTP{}, "GET /", "a: b")
			policy := &route.Retry{On: c.on, Codes: []int{429}, Attempts: 1}
			policy.Fields, _ = route.NewHeaders(c.fields)
			policy.Only, _ = route.NewHeaders(c.only)
			r.route = &route.Route{Retry: policy}
			r.x.Upstream.Cluster = &exchange.ClusterInfo{}
			r.outgoing()
			r.x.Response.Status = 429
			r.x.Response.Add("x-again", "yes")
			if got := r.retriable(policy, exchange.OK, nil); got != c.want {
				t.Errorf("sent again: %v, want %v", got, c.want)
			}
		})
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

// TestPicks: as in Envoy, a host is chosen once and then again as often as the policy says, which is once where it says nothing.
func TestPicks(t *testing.T) {
	for want, policy := range map[int]*route.Retry{1: {HostPicks: 5}, 2: {OtherHost: true}, 6: {OtherHost: true, HostPicks: 5}} {
		if got := picks(policy); got != want {
			t.Errorf("%+v: %d choices, want %d", policy, got, want)
		}
	}
	if got := picks(nil); got != 1 {
		t.Errorf("no policy: %d choices", got)
	}
}

// TestKeptBodiesAreBounded: what long bodies may keep for other tries has a limit for all together, which short ones do not know, and is given back.
func TestKeptBodiesAreBounded(t *testing.T) {
	short := false
	p := New(Options{Overloaded: func() bool { return short }})
	upload := func(n int) *run {
		r := &run{p: p, route: &route.Route{Retry: &route.Retry{}}}
		r.pump.r = r
		for piece := make(exchange.View, shortKept); n > 0; n -= len(piece) {
			r.pump.keep(piece[:min(n, len(piece))], n <= len(piece))
		}
		return r
	}
	var held []*run
	for range bodyMemory / (maxKept - shortKept) {
		r := upload(maxKept)
		if r.pump.lost || len(r.pump.kept) != maxKept {
			t.Fatal("there is room")
		}
		held = append(held, r)
	}
	if r := upload(maxKept); !r.pump.lost || r.pump.kept != nil || r.pump.counted != 0 {
		t.Errorf("more than may be kept: %d bytes are", len(r.pump.kept))
	}
	if r := upload(shortKept); r.pump.lost {
		t.Error("a short one is not kept")
	}
	for _, r := range held {
		r.pump.forget()
	}
	if n := p.kept.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted though nothing is kept", n)
	}
	short = true
	if r := upload(maxKept); !r.pump.lost || p.kept.bytes.Load() != 0 {
		t.Errorf("memory is short: %d bytes counted", p.kept.bytes.Load())
	}
	short = false
	if r := upload(maxKept + 1); !r.pump.lost || p.kept.bytes.Load() != 0 {
		t.Errorf("a body that is too long: %d bytes counted", p.kept.bytes.Load())
	}
}

// TestRetriesByGRPCStatus: a response's grpc-status counts whatever was asked, as in Envoy.
func TestRetriesByGRPCStatus(t *testing.T) {
	for _, grpc := range []bool{true, false} {
		for code, on := range map[string]route.RetryOn{"1": route.OnGRPCCancelled, "4": route.OnGRPCDeadlineExceeded, "8": route.OnGRPCResourceExhausted,
			"13": route.OnGRPCInternal, "14": route.OnGRPCUnavailable, "0": 0, "x": 0} {
			r := request(config.HTTP{}, "POST /")
			r.x.GRPC = grpc
			r.x.Response.Status = 200
			r.x.Response.Add("grpc-status", code)
			for _, named := range []route.RetryOn{route.OnGRPCCancelled, route.OnGRPCDeadlineExceeded, route.OnGRPCResourceExhausted, route.OnGRPCInternal, route.OnGRPCUnavailable} {
				if got := r.wanted(&route.Retry{On: named}, exchange.OK, nil); got != (named == on) {
					t.Errorf("a request of gRPC: %v, status %s, conditions %b: sent again: %v", grpc, code, named, got)
				}
			}
		}
	}
}
