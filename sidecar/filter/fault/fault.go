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
}

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
	case c.AbortShare > 0 && c.Status == 0 && c.GRPC == nil:
		return nil, fmt.Errorf("abort: neither status nor grpc")
	case c.DelayShare > million || c.AbortShare > million:
		return nil, fmt.Errorf("share: more than %d of %d", million, million)
	}
	return &Filter{c}, nil
}

// Request delays or aborts a share of requests. A delayed request may be aborted as well.
func (f *Filter) Request(x *exchange.Exchange) exchange.Outcome {
	if f.c.Delay > 0 && hit(f.c.DelayShare) {
		x.Delay = f.c.Delay
		x.Flags |= exchange.FlagDelayInjected
	}
	if !hit(f.c.AbortShare) {
		return exchange.OK
	}
	x.Reply = exchange.Reply{Status: f.c.Status}
	if f.c.Status == 0 {
		x.Reply.Status, x.Reply.GRPC = statusOf(*f.c.GRPC), f.c.GRPC
	}
	return exchange.FaultAbort
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
