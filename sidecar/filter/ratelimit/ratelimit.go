// Package ratelimit refuses requests beyond a rate, by a token bucket of this process (Envoy's envoy.filters.http.local_ratelimit). It must not ask
// anybody else, nor the clock: the exchange says when it began.
package ratelimit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
)

// million is what shares are out of.
const million = 1_000_000

// Config says how much is too much. A Config without Tokens limits nothing.
type Config struct {
	Tokens        uint32        // what the bucket holds; 0: no limit
	Fill          uint32        // how many come back per Interval; at least 1
	Interval      time.Duration // more than 0
	EnabledShare  uint32        // of 1,000,000 requests, how many are counted
	EnforcedShare uint32        // of 1,000,000 requests beyond the rate, how many are refused
	Status        int           // of the refusal, 400 to 599; 0: 429
	Exhausted     bool          // gRPC clients get RESOURCE_EXHAUSTED, not UNAVAILABLE
	Request       []headers.Op  // for requests beyond the rate that are not refused
	Response      []headers.Op  // for refusals
}

// Filter limits. Its bucket is shared by all requests.
type Filter struct {
	c        Config
	rate     float64                   // tokens per second
	epoch    atomic.Pointer[time.Time] // when the first request began
	request  *headers.Ops
	response *headers.Ops
	// empty is when, in seconds since epoch, the bucket would have been empty last, had nothing been taken since: bits of a float64.
	empty atomic.Uint64
}

// exhausted is RESOURCE_EXHAUSTED.
const exhausted = 8

// New checks c. The bucket is full at first.
func New(c Config) (*Filter, error) {
	f := &Filter{c: c}
	switch {
	case c.Tokens > 0 && c.Interval <= 0:
		return nil, fmt.Errorf("token_bucket.fill_interval: %v is not more than 0", c.Interval)
	case c.Tokens > 0 && c.Fill == 0:
		return nil, fmt.Errorf("token_bucket.tokens_per_fill: 0")
	case c.Status != 0 && (c.Status < 400 || c.Status > 599):
		return nil, fmt.Errorf("status.code: %d is not within 400 to 599", c.Status)
	case c.EnabledShare > million || c.EnforcedShare > million:
		return nil, fmt.Errorf("share: more than %d of %d", million, million)
	}
	var err error
	if f.request, err = headers.New(headers.Config{Add: c.Request}); err != nil {
		return nil, fmt.Errorf("request_headers_to_add_when_not_enforced: %w", err)
	}
	if f.response, err = headers.New(headers.Config{Add: c.Response}); err != nil {
		return nil, fmt.Errorf("response_headers_to_add: %w", err)
	}
	if c.Tokens > 0 {
		f.rate = float64(c.Fill) / c.Interval.Seconds()
		f.empty.Store(math.Float64bits(math.Inf(-1)))
	}
	return f, nil
}

// Unlimited says whether there is no bucket.
func (f *Filter) Unlimited() bool { return f.c.Tokens == 0 }

// Request takes a token, or refuses where there is none.
func (f *Filter) Request(x *exchange.Exchange) exchange.Outcome {
	if f.c.Tokens == 0 || !hit(f.c.EnabledShare) || f.take(f.since(x.Start)) {
		return exchange.OK
	}
	if !hit(f.c.EnforcedShare) {
		f.request.Apply(&x.Request, x)
		return exchange.OK
	}
	x.Reply = exchange.Reply{Status: f.c.Status}
	if f.c.Exhausted {
		code := exhausted
		x.Reply.GRPC = &code
	}
	f.response.Apply(&x.Response, x)
	return exchange.RateLimited
}

// since is how long after the first request another one began, in seconds.
func (f *Filter) since(start time.Time) float64 {
	epoch := f.epoch.Load()
	if epoch == nil {
		first := start
		f.epoch.CompareAndSwap(nil, &first)
		epoch = f.epoch.Load()
	}
	return start.Sub(*epoch).Seconds()
}

// take takes a token at a moment, in seconds since epoch; false: there is none.
func (f *Filter) take(now float64) bool {
	for {
		old := f.empty.Load()
		empty := max(math.Float64frombits(old), now-float64(f.c.Tokens)/f.rate) // it never holds more than it can
		if (now-empty)*f.rate < 1-1e-9 {
			return false
		}
		if f.empty.CompareAndSwap(old, math.Float64bits(empty+1/f.rate)) {
			return true
		}
	}
}

func hit(share uint32) bool {
	return share >= million || share > 0 && rand.Uint32N(million) < share
}
