package forward

import (
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

func TestGRPCTimeout(t *testing.T) {
	for in, want := range map[string]string{"1S": "1s", "250m": "250ms", "2H": "2h0m0s", "3M": "3m0s", "5u": "5µs", "7n": "7ns",
		"": "", "S": "", "1": "", "1x": "", "-1S": "", "123456789S": ""} {
		d, ok := parseGRPCTimeout(exchange.View(in))
		if ok != (want != "") || ok && d.String() != want {
			t.Errorf("%q: got %v %v", in, d, ok)
		}
	}
}

// TestLimit: a client's own timeout holds, up to what the route allows; none at all is more than that.
func TestLimit(t *testing.T) {
	up := func(seconds int) *route.GRPCTimeout {
		return &route.GRPCTimeout{Max: time.Duration(seconds) * time.Second}
	}
	calls := func(seconds int) *route.GRPCTimeout {
		return &route.GRPCTimeout{Max: time.Duration(seconds) * time.Second, Calls: true}
	}
	less := func(g *route.GRPCTimeout) *route.GRPCTimeout {
		g.Offset = 200 * time.Millisecond
		return g
	}
	for name, c := range map[string]struct {
		grpc  *route.GRPCTimeout
		kind  string // of content
		asked string
		want  time.Duration
	}{
		"nothing asked for":               {up(2), "", "", time.Second},
		"less":                            {up(2), "", "500m", 500 * time.Millisecond},
		"more":                            {up(2), "", "3S", 2 * time.Second},
		"no limit":                        {up(2), "", "0S", 2 * time.Second},
		"unreadable":                      {up(2), "", "soon", time.Second},
		"the client alone decides":        {up(0), "", "3S", 3 * time.Second},
		"the client wants no limit":       {up(0), "", "0S", 0},
		"not a matter of clients":         {nil, "", "3S", time.Second},
		"earlier than the client":         {less(up(0)), "", "3S", 2800 * time.Millisecond},
		"earlier than the most":           {less(up(2)), "", "3S", 1800 * time.Millisecond},
		"less than it is earlier":         {less(up(2)), "", "100m", 1},
		"calls only, and none":            {calls(2), "text/plain", "500m", time.Second},
		"calls only, less":                {calls(2), "application/grpc", "500m", 500 * time.Millisecond},
		"calls only, more":                {calls(2), "application/grpc", "3S", 2 * time.Second},
		"calls only, nothing asked for":   {calls(2), "application/grpc", "", 2 * time.Second},
		"calls only, without limit":       {calls(0), "application/grpc", "", 0},
		"calls only, the client decides":  {calls(0), "application/grpc", "3S", 3 * time.Second},
		"calls only, earlier":             {less(calls(0)), "application/grpc", "3S", 2800 * time.Millisecond},
		"calls only, earlier, but capped": {less(calls(2)), "application/grpc", "3S", 2 * time.Second},
		"calls only, too little":          {less(calls(2)), "application/grpc", "200m", 200 * time.Millisecond},
	} {
		r := request(config.HTTP{}, "POST /")
		if c.asked != "" {
			r = request(config.HTTP{}, "POST /", "grpc-timeout: "+c.asked)
		}
		r.x.GRPC = isGRPC(exchange.View(c.kind))
		r.route = &route.Route{Timeout: time.Second, GRPC: c.grpc}
		if got := r.limit(); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestTellCall: the server of a call is told no longer a time than the try has, whatever the client said.
func TestTellCall(t *testing.T) {
	for name, c := range map[string]struct {
		grpc   *route.GRPCTimeout
		isGRPC bool
		asked  string
		limit  time.Duration
		perTry time.Duration
		want   string
	}{
		"cut by the route":       {&route.GRPCTimeout{}, true, "9S", 2 * time.Second, 0, "2000000u"},
		"cut by the try":         {&route.GRPCTimeout{}, true, "9S", 2 * time.Second, time.Second, "1000000u"},
		"long":                   {&route.GRPCTimeout{}, true, "9S", 1000 * time.Second, 0, "1000000m"},
		"the client said none":   {&route.GRPCTimeout{}, true, "", 2 * time.Second, 0, "2000000u"},
		"no limit":               {&route.GRPCTimeout{}, true, "0S", 0, 0, "0S"},
		"no call":                {&route.GRPCTimeout{}, false, "9S", 2 * time.Second, 0, "9S"},
		"not a matter of routes": {nil, true, "9S", 2 * time.Second, 0, "9S"},
	} {
		r := request(config.HTTP{}, "POST /")
		if c.asked != "" {
			r = request(config.HTTP{}, "POST /", "grpc-timeout: "+c.asked)
		}
		r.x.GRPC, r.timeout, r.perTry, r.route = c.isGRPC, c.limit, c.perTry, &route.Route{GRPC: c.grpc}
		r.tellCall()
		if got := r.x.Request.Get("grpc-timeout"); !got.Is(c.want) || r.x.Request.Count("grpc-timeout") > 1 {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAppendGRPCTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1: "1u", time.Millisecond: "1000u", 99 * time.Second: "99000000u", 100 * time.Second: "100000m", 28 * time.Hour: "100800S", 30_000 * time.Hour: "1800000M", 1<<63 - 1: "2562047H",
	} {
		got := appendGRPCTimeout(nil, d)
		if back, ok := parseGRPCTimeout(got); string(got) != want || !ok || back > d && d > time.Microsecond {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
