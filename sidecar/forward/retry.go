package forward

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// retriable says whether the policy wants another try, and nothing of this one has reached the client.
func (r *run) retriable(p *route.Retry, o exchange.Outcome, err error) bool {
	if p == nil || r.single || r.started || r.x.Canceled() || o == exchange.OK && upgraded(r.x) {
		return false
	}
	return r.wanted(p, o, err)
}

// wanted says whether the policy names how the try ended.
func (r *run) wanted(p *route.Retry, o exchange.Outcome, err error) bool {
	if o == exchange.OK {
		if r.x.Response.Has("x-envoy-ratelimited") { // as in Envoy, whatever else holds
			return p.On&route.OnEnvoyRatelimited != 0
		}
		return retriesResponse(p, r.x) || r.named()
	}
	const any5xx = route.On5xx | route.OnGatewayError
	switch o {
	case exchange.ConnectFailure, exchange.ConnectTimeout:
		return p.On&(any5xx|route.OnConnectFailure|route.OnReset|route.OnResetBeforeRequest) != 0
	case exchange.TryTimeout, exchange.UpstreamDuration:
		return p.On&(any5xx|route.OnReset) != 0
	case exchange.UpstreamReset, exchange.StreamReset, exchange.StreamRefused, exchange.UpstreamProtocol:
		want := any5xx | route.OnReset
		if err == exchange.ErrRefused {
			want |= route.OnRefusedStream | route.OnResetBeforeRequest
		}
		return p.On&want != 0
	}
	return false
}

// retriesResponse judges a response's head.
func retriesResponse(p *route.Retry, x *exchange.Exchange) bool {
	status := x.Response.Status
	switch {
	case p.On&route.On5xx != 0 && status >= 500,
		p.On&route.OnGatewayError != 0 && status >= 502 && status <= 504,
		p.On&route.OnConnectFailure != 0 && refused(x),
		p.On&route.OnRetriable4xx != 0 && status == 409,
		p.On&route.OnRetriableStatusCodes != 0 && slices.Contains(p.Codes, status),
		p.On&route.OnRetriableHeaders != 0 && p.Fields.Any(&x.Response):
		return true
	}
	if p.On&(route.OnGRPCCancelled|route.OnGRPCDeadlineExceeded|route.OnGRPCInternal|route.OnGRPCResourceExhausted|route.OnGRPCUnavailable) == 0 {
		return false
	}
	switch grpcStatus(&x.Response) {
	case 1:
		return p.On&route.OnGRPCCancelled != 0
	case 4:
		return p.On&route.OnGRPCDeadlineExceeded != 0
	case 8:
		return p.On&route.OnGRPCResourceExhausted != 0
	case 13:
		return p.On&route.OnGRPCInternal != 0
	case 14:
		return p.On&route.OnGRPCUnavailable != 0
	}
	return false
}

// retriableNames is the request's list of response fields for which it is to be sent again, where the policy lets it say so.
const retriableNames = "x-envoy-retriable-header-names"

// named says whether the response has a field that the request asked to be sent again for.
func (r *run) named() bool {
	for rest := []byte(r.fields); len(rest) > 0; {
		var name []byte
		name, rest, _ = bytes.Cut(rest, []byte{','})
		name = bytes.TrimSpace(name)
		for i := range r.x.Response.Fields {
			if len(name) > 0 && bytes.EqualFold(r.x.Response.Fields[i].Name, name) {
				return true
			}
		}
	}
	return false
}

// grpcUnknown is UNKNOWN of gRPC's status codes, and what codes are that there are not.
const grpcUnknown = 2

// grpcStatus reads grpc-status, -1 where there is none.
func grpcStatus(h *exchange.Head) int {
	v := h.Get("grpc-status")
	if v == nil {
		return -1
	}
	n, err := strconv.Atoi(string(v))
	if err != nil || n < 0 || n > 16 {
		return grpcUnknown
	}
	return n
}

// result is how a response's head counts for outlier detection. Where statuses are named that are errors, these alone decide, as in Envoy, for gRPC as well.
func result(x *exchange.Exchange, errors []int) outlier.Result {
	status := x.Response.Status
	if errors == nil {
		status = judged(x)
	} else if !slices.Contains(errors, status) {
		return outlier.Good
	}
	switch {
	case status == 502 || status == 503 || status == 504:
		return outlier.Gateway
	case status >= 500 || errors != nil:
		return outlier.Server
	}
	return outlier.Good
}

// judged is the HTTP status by which a response's head counts for outlier detection: to gRPC the one that its grpc-status stands for, where
// the head has one. As in Envoy, a grpc-status that comes after messages, in trailers, does not count.
func judged(x *exchange.Exchange) int {
	if x.GRPC {
		if code := grpcStatus(&x.Response); code >= 0 {
			return httpOf[code]
		}
	}
	return x.Response.Status
}

// httpOf is Envoy's HTTP status for each of gRPC's codes. Never written.
var httpOf = [17]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}

// backoff is the wait before the nth retry: random, up to base * (2^n - 1), at most max.
func backoff(p *route.Retry, n int) time.Duration {
	base, most := p.Base, p.Max
	if base <= 0 {
		base = 25 * time.Millisecond
	}
	if most <= 0 {
		most = 10 * base
	}
	span := min(base*time.Duration(1<<min(n, 16)-1), most)
	return time.Duration(rand.Int64N(int64(span) + 1))
}

func random() uint64 { return rand.Uint64() }
