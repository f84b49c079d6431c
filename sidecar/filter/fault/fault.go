// Package fault delays or aborts a share of requests on purpose. It must not wait itself: it says how long.
package fault

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// million is what shares are out of.
const million = 1_000_000

// Config says what to inject. The zero Config injects nothing.
type Config struct {
	Delay      time.Duration
	DelayShare uint32 // of 1,000,000 requests
	Status     int    // HTTP status of aborts, 200 to 599; or
	GRPC       *int   // grpc-status of aborts, 0 to 16, where Status is 0
	AbortShare uint32 // of 1,000,000 requests
	// DelayUnit and AbortUnit let requests say themselves what befalls them, as Envoy's header_delay and header_abort do: milliseconds in
	// x-envoy-fault-delay-request, a status in x-envoy-fault-abort-request or x-envoy-fault-abort-grpc-request, and in what part of the requests that name it
	// (…-percentage), at most the share above, in units of so many of 1,000,000. 0: they may not.
	DelayUnit, AbortUnit uint32
}

// longest bounds the delay that a request may ask for.
const longest = time.Hour

// Filter injects.
type Filter struct{ c Config }

// New checks c.
func New(c Config) (*Filter, error) {
	switch {
	case c.Delay < 0:
		return nil, fmt.Errorf("delay: %v is negative", c.Delay)
	case c.Status != 0 && (c.Status < 200 || c.Status > 599):
		return nil, fmt.Errorf("abort.status: %d is not within 200 to 599", c.Status)
	case c.GRPC != nil && (*c.GRPC < 0 || *c.GRPC > 16):
		return nil, fmt.Errorf("abort.grpc: %d is not within 0 to 16", *c.GRPC)
	case c.AbortShare > 0 && c.Status == 0 && c.GRPC == nil && c.AbortUnit == 0:
		return nil, fmt.Errorf("abort: neither status nor grpc")
	case c.DelayShare > million || c.AbortShare > million:
		return nil, fmt.Errorf("share: more than %d of %d", million, million)
	}
	return &Filter{c}, nil
}

// Request delays or aborts a share of requests. A delayed request may be aborted as well.
func (f *Filter) Request(x *exchange.Exchange) exchange.Outcome {
	if delay, share := f.delay(&x.Request); delay > 0 && hit(share) {
		x.Delay = delay
		x.Flags |= exchange.FlagDelayInjected
	}
	status, grpc, share := f.abort(&x.Request)
	if status == 0 && grpc == nil || !hit(share) {
		return exchange.OK
	}
	x.Reply = exchange.Reply{Status: status}
	if status == 0 {
		x.Reply.Status, x.Reply.GRPC = statusOf(*grpc), grpc
	}
	return exchange.FaultAbort
}

// delay is how long a request is to be delayed, and in how many of 1,000,000 cases.
func (f *Filter) delay(h *exchange.Head) (time.Duration, uint32) {
	if f.c.DelayUnit == 0 {
		return f.c.Delay, f.c.DelayShare
	}
	ms, ok := number(h.Get("x-envoy-fault-delay-request"))
	if !ok {
		return 0, 0
	}
	return min(time.Duration(ms)*time.Millisecond, longest), asked(h.Get("x-envoy-fault-delay-request-percentage"), f.c.DelayUnit, f.c.DelayShare)
}

// abort is what a request is to be answered, and in how many of 1,000,000 cases.
func (f *Filter) abort(h *exchange.Head) (status int, grpc *int, share uint32) {
	if f.c.AbortUnit == 0 {
		return f.c.Status, f.c.GRPC, f.c.AbortShare
	}
	share = asked(h.Get("x-envoy-fault-abort-request-percentage"), f.c.AbortUnit, f.c.AbortShare)
	if n, ok := number(h.Get("x-envoy-fault-abort-request")); ok && n >= 200 && n < 600 {
		return n, nil, share
	}
	if n, ok := number(h.Get("x-envoy-fault-abort-grpc-request")); ok && n <= 16 {
		return 0, &n, share
	}
	return 0, nil, 0
}

// asked is the share that a request asks for, where it does, and at most what it may.
func asked(v exchange.View, unit, most uint32) uint32 {
	if n, ok := number(v); ok {
		return uint32(min(int64(n)*int64(unit), int64(most)))
	}
	return most
}

// number reads up to nine digits.
func number(v exchange.View) (n int, ok bool) {
	if len(v) == 0 || len(v) > 9 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func hit(share uint32) bool { return share > 0 && rand.Uint32N(million) < share }

// statusOf is what a client that does not speak gRPC gets for a gRPC code.
func statusOf(code int) int {
	status := strings.Fields("200 499 500 400 504 404 409 403 429 400 409 400 501 500 503 500 401")[code]
	n := 0
	for _, c := range status {
		n = n*10 + int(c-'0')
	}
	return n
}

// Config returns what the filter was made of.
func (f *Filter) Config() Config { return f.c }
