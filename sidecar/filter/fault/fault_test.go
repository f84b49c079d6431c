package fault

import (
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func TestRequest(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   exchange.Outcome
		delay  time.Duration
		status int
	}{
		"nothing":           {Config{}, exchange.OK, 0, 0},
		"always delayed":    {Config{Delay: time.Second, DelayShare: million}, exchange.OK, time.Second, 0},
		"share of nothing":  {Config{Delay: time.Second, Status: 500}, exchange.OK, 0, 0},
		"always aborted":    {Config{Status: 418, AbortShare: million}, exchange.FaultAbort, 0, 418},
		"aborted with gRPC": {Config{GRPC: code(14), AbortShare: million}, exchange.FaultAbort, 0, 503},
		"answered with OK":  {Config{GRPC: code(0), AbortShare: million}, exchange.FaultAbort, 0, 200},
		"both":              {Config{Delay: 1, DelayShare: million, Status: 500, AbortShare: million}, exchange.FaultAbort, 1, 500},
	} {
		f, err := New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		x := &exchange.Exchange{}
		if o := f.Request(x); o != c.want || x.Delay != c.delay || x.Reply.Status != c.status || o == exchange.FaultAbort && x.Reply.GRPC != c.config.GRPC {
			t.Errorf("%s: got %v %v %+v", name, o, x.Delay, x.Reply)
		}
	}
}

func code(n int) *int { return &n }

func TestShare(t *testing.T) {
	f, _ := New(Config{Status: 500, AbortShare: million / 4})
	n := 0
	for range 10_000 {
		if f.Request(&exchange.Exchange{}) != exchange.OK {
			n++
		}
	}
	if n < 2200 || n > 2800 { // six standard deviations and more
		t.Errorf("a quarter of 10,000 is %d", n)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{{Delay: -1}, {Status: 99}, {GRPC: code(17)}, {AbortShare: 1}, {DelayShare: million + 1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
