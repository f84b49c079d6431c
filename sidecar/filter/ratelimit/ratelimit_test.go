package ratelimit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
)

func limit(t testing.TB, c Config) (f *Filter, at func(time.Duration) (*exchange.Exchange, exchange.Outcome)) {
	t.Helper()
	epoch := time.Now()
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return f, func(d time.Duration) (*exchange.Exchange, exchange.Outcome) {
		x := &exchange.Exchange{Start: epoch.Add(d)}
		return x, f.Request(x)
	}
}

func always(tokens, fill uint32, interval time.Duration) Config {
	return Config{Tokens: tokens, Fill: fill, Interval: interval, EnabledShare: million, EnforcedShare: million}
}

// passed is how many of n requests at a moment pass.
func passed(at func(time.Duration) (*exchange.Exchange, exchange.Outcome), d time.Duration, n int) int {
	count := 0
	for range n {
		if _, o := at(d); o == exchange.OK {
			count++
		}
	}
	return count
}

func TestBucket(t *testing.T) {
	_, at := limit(t, always(5, 2, time.Second))
	for _, step := range []struct {
		at   time.Duration
		want int
	}{
		{0, 5},                      // full at first
		{100 * time.Millisecond, 0}, // a fifth of a token
		{500 * time.Millisecond, 1}, // tokens come one by one, not once a second
		{999 * time.Millisecond, 0},
		{1500 * time.Millisecond, 2},
		{time.Hour, 5}, // never more than it holds
		{time.Hour, 0},
	} {
		if got := passed(at, step.at, 10); got != step.want {
			t.Errorf("at %v: %d pass, want %d", step.at, got, step.want)
		}
	}
}

// A long life must not blur the count: after years the float's steps are still much smaller than a token.
func TestBucketAfterYears(t *testing.T) {
	_, at := limit(t, always(100, 100_000, time.Second))
	const years = 3 * 365 * 24 * time.Hour
	if got := passed(at, years, 200); got != 100 {
		t.Errorf("%d of 100 pass", got)
	}
	if got := passed(at, years+time.Millisecond, 200); got < 99 || got > 101 {
		t.Errorf("%d of 100 pass a millisecond later", got)
	}
}

func TestBucketIsShared(t *testing.T) {
	_, at := limit(t, always(1000, 1, time.Hour))
	var wg sync.WaitGroup
	var sum atomic.Int64
	for range 4 {
		wg.Go(func() { sum.Add(int64(passed(at, 0, 500))) })
	}
	if wg.Wait(); sum.Load() != 1000 {
		t.Errorf("%d of 1000 pass", sum.Load())
	}
}

func TestRefusal(t *testing.T) {
	c := always(1, 1, time.Hour)
	c.Response = []headers.Op{{Name: "x-local", Value: "yes"}}
	_, at := limit(t, c)
	at(0)
	x, o := at(0)
	if o != exchange.RateLimited || o.Status() != 429 || o.Flag() != exchange.FlagRateLimited || x.Reply.Status != 0 || x.Reply.GRPC != nil {
		t.Errorf("got %v %+v", o, x.Reply)
	}
	if len(x.Response.Fields) != 1 || !x.Response.Get("x-local").Is("yes") { // nothing that keeps callers from retries
		t.Errorf("got %+v", x.Response.Fields)
	}
	c.Status, c.Exhausted = 503, true
	_, at = limit(t, c)
	at(0)
	if x, o := at(0); o != exchange.RateLimited || x.Reply.Status != 503 || x.Reply.GRPC == nil || *x.Reply.GRPC != 8 {
		t.Errorf("got %v %+v", o, x.Reply)
	}
}

func TestNotEnforced(t *testing.T) {
	c := always(1, 1, time.Hour)
	c.EnforcedShare, c.Request = 0, []headers.Op{{Name: "x-beyond", Value: "yes"}}
	_, at := limit(t, c)
	if x, o := at(0); o != exchange.OK || x.Request.Has("x-beyond") {
		t.Errorf("within: got %v %+v", o, x.Request.Fields)
	}
	if x, o := at(0); o != exchange.OK || !x.Request.Get("x-beyond").Is("yes") {
		t.Errorf("beyond: got %v %+v", o, x.Request.Fields)
	}
}

func TestShares(t *testing.T) {
	c := always(1, 1, 1000*time.Hour)
	c.EnabledShare = 0
	if _, at := limit(t, c); passed(at, 0, 100) != 100 {
		t.Error("a filter that is not enabled refuses")
	}
	c.EnabledShare, c.EnforcedShare = million, million/4
	_, at := limit(t, c)
	if n := 10_000 - passed(at, 0, 10_000); n < 2200 || n > 2800 { // six standard deviations and more
		t.Errorf("a quarter of 10,000 is %d", n)
	}
	if _, at := limit(t, Config{EnabledShare: million, EnforcedShare: million}); passed(at, 0, 100) != 100 {
		t.Error("a filter without a bucket refuses")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{{Tokens: 1, Fill: 1}, {Tokens: 1, Interval: 1}, {Status: 399}, {Status: 600}, {EnabledShare: million + 1},
		{Request: []headers.Op{{Name: ":path"}}}, {Response: []headers.Op{{Name: "a", Value: "\n"}}}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
