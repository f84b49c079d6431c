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

// TestRequestsThatSay: where the configuration lets them, requests say what befalls them, in at most the share that it gives them.
func TestRequestsThatSay(t *testing.T) {
	all := Config{DelayUnit: million / 100, DelayShare: million, AbortUnit: million / 100, AbortShare: million}
	for name, c := range map[string]struct {
		config Config
		fields map[string]string
		delay  time.Duration
		status int
		grpc   int // -1: none
	}{
		"nothing":                       {all, nil, 0, 0, -1},
		"a delay":                       {all, map[string]string{"x-envoy-fault-delay-request": "150"}, 150 * time.Millisecond, 0, -1},
		"a very long one":               {all, map[string]string{"x-envoy-fault-delay-request": "999999999"}, time.Hour, 0, -1},
		"no number":                     {all, map[string]string{"x-envoy-fault-delay-request": "-5", "x-envoy-fault-abort-request": "5x"}, 0, 0, -1},
		"an abort":                      {all, map[string]string{"x-envoy-fault-abort-request": "503"}, 0, 503, -1},
		"what is no status":             {all, map[string]string{"x-envoy-fault-abort-request": "99"}, 0, 0, -1},
		"an abort of gRPC":              {all, map[string]string{"x-envoy-fault-abort-grpc-request": "14"}, 0, 503, 14},
		"what is no code":               {all, map[string]string{"x-envoy-fault-abort-grpc-request": "17"}, 0, 0, -1},
		"both":                          {all, map[string]string{"x-envoy-fault-delay-request": "1", "x-envoy-fault-abort-request": "418"}, time.Millisecond, 418, -1},
		"in no case":                    {all, map[string]string{"x-envoy-fault-abort-request": "418", "x-envoy-fault-abort-request-percentage": "0"}, 0, 0, -1},
		"in more cases than there are":  {all, map[string]string{"x-envoy-fault-abort-request": "418", "x-envoy-fault-abort-request-percentage": "999999999"}, 0, 418, -1},
		"who may not":                   {Config{}, map[string]string{"x-envoy-fault-delay-request": "150", "x-envoy-fault-abort-request": "503"}, 0, 0, -1},
		"who may in no case":            {Config{DelayUnit: 1, AbortUnit: 1}, map[string]string{"x-envoy-fault-abort-request": "503", "x-envoy-fault-abort-request-percentage": "100"}, 0, 0, -1},
		"in place of what is always so": {Config{Delay: time.Second, DelayShare: million, DelayUnit: 1}, nil, 0, 0, -1},
	} {
		f, err := New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		x := &exchange.Exchange{}
		for k, v := range c.fields {
			x.Request.Add(k, v)
		}
		grpc := -1
		o := f.Request(x)
		if x.Reply.GRPC != nil {
			grpc = *x.Reply.GRPC
		}
		if x.Delay != c.delay || x.Reply.Status != c.status || grpc != c.grpc || (o == exchange.FaultAbort) != (c.status != 0) {
			t.Errorf("%s: got %v %v %+v", name, o, x.Delay, x.Reply)
		}
	}
}

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
