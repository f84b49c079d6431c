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

// TestLimit: a client's own timeout holds, up to what the route allows; none at all is more than that. Of calls alone it is the request's timeout, else that of the
// whole exchange.
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
	const timeout, stream = time.Second, 30 * time.Second
	for name, c := range map[string]struct {
		grpc    *route.GRPCTimeout
		kind    string // of content
		asked   string
		request time.Duration
		all     time.Duration
	}{
		"nothing asked for":               {up(2), "", "", timeout, stream},
		"less":                            {up(2), "", "500m", 0, 500 * time.Millisecond},
		"more":                            {up(2), "", "3S", 0, 2 * time.Second},
		"no limit":                        {up(2), "", "0S", 0, 2 * time.Second},
		"unreadable":                      {up(2), "", "soon", timeout, stream},
		"the client alone decides":        {up(0), "", "3S", 0, 3 * time.Second},
		"longer than the stream may":      {up(0), "", "1H", 0, time.Hour},
		"the client wants no limit":       {up(0), "", "0S", 0, stream},
		"not a matter of clients":         {nil, "", "3S", timeout, stream},
		"earlier than the client":         {less(up(0)), "", "3S", 0, 2800 * time.Millisecond},
		"earlier than the most":           {less(up(2)), "", "3S", 0, 1800 * time.Millisecond},
		"less than it is earlier":         {less(up(2)), "", "100m", 0, 1},
		"less than the timeout":           {up(1), "", "500m", 0, 500 * time.Millisecond},
		"no less than the timeout":        {up(1), "", "1S", timeout, stream},
		"no limit, and the timeout":       {up(1), "", "0S", timeout, stream},
		"calls only, and none":            {calls(2), "text/plain", "500m", timeout, stream},
		"calls only, less":                {calls(2), "application/grpc", "500m", 500 * time.Millisecond, stream},
		"calls only, more":                {calls(2), "application/grpc", "3S", 2 * time.Second, stream},
		"calls only, nothing asked for":   {calls(2), "application/grpc", "", 2 * time.Second, stream},
		"calls only, without limit":       {calls(0), "application/grpc", "", 0, stream},
		"calls only, the client decides":  {calls(0), "application/grpc", "3S", 3 * time.Second, stream},
		"calls only, earlier":             {less(calls(0)), "application/grpc", "3S", 2800 * time.Millisecond, stream},
		"calls only, earlier, but capped": {less(calls(2)), "application/grpc", "3S", 2 * time.Second, stream},
		"calls only, too little":          {less(calls(2)), "application/grpc", "200m", 200 * time.Millisecond, stream},
	} {
		h := config.HTTP{MaxStream: stream}
		r := request(h, "POST /")
		if c.asked != "" {
			r = request(h, "POST /", "grpc-timeout: "+c.asked)
		}
		r.x.GRPC, r.x.Start = isGRPC(exchange.View(c.kind)), time.Now()
		r.route = &route.Route{Timeout: timeout, GRPC: c.grpc}
		r.bound()
		r.lasting.stop()
		if got := r.limit(); got != c.request || r.most != c.all {
			t.Errorf("%s: got %v, and %v of all, want %v and %v", name, got, r.most, c.request, c.all)
		}
	}
}

// TestTellCall: the server of a call is told no longer a time than the try has, whatever the client said.
func TestTellCall(t *testing.T) {
	stream := 3 * time.Second
	for name, c := range map[string]struct {
		route  route.Route
		isGRPC bool
		asked  string
		limit  time.Duration
		perTry time.Duration
		most   time.Duration
		want   string
	}{
		"cut by the route":       {route.Route{GRPC: &route.GRPCTimeout{}}, true, "9S", 2 * time.Second, 0, 0, "2000m"},
		"cut by the try":         {route.Route{GRPC: &route.GRPCTimeout{}}, true, "9S", 2 * time.Second, time.Second, 0, "1000m"},
		"long":                   {route.Route{GRPC: &route.GRPCTimeout{}}, true, "9S", 1000 * time.Second, 0, 0, "1000000m"},
		"the client said none":   {route.Route{GRPC: &route.GRPCTimeout{}}, true, "", 2 * time.Second, 0, 0, "2000m"},
		"no limit":               {route.Route{GRPC: &route.GRPCTimeout{}}, true, "0S", 0, 0, 0, "0S"},
		"no call":                {route.Route{GRPC: &route.GRPCTimeout{}}, false, "9S", 2 * time.Second, 0, stream, "9S"},
		"not a matter of routes": {route.Route{}, true, "9S", 2 * time.Second, 0, stream, "9S"},
		"the exchange's":         {route.Route{GRPC: &route.GRPCTimeout{}}, true, "9S", 0, 0, stream, "3000m"},
		"the exchange's, longer": {route.Route{GRPC: &route.GRPCTimeout{}}, true, "9S", 0, time.Second, stream, "1000m"},
		"the stream's":           {route.Route{MaxStream: &stream}, true, "9S", 2 * time.Second, 0, stream, "3000m"},
		"of calls alone":         {route.Route{GRPC: &route.GRPCTimeout{Calls: true}}, true, "9S", 5 * time.Second, 0, stream, "5000m"},
	} {
		r := request(config.HTTP{}, "POST /")
		if c.asked != "" {
			r = request(config.HTTP{}, "POST /", "grpc-timeout: "+c.asked)
		}
		r.x.GRPC, r.timeout, r.perTry, r.most, r.route = c.isGRPC, c.limit, c.perTry, c.most, &c.route
		r.tellCall()
		if got := r.x.Request.Get("grpc-timeout"); !got.Is(c.want) || r.x.Request.Count("grpc-timeout") > 1 {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAppendGRPCTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1: "1u", time.Millisecond: "1m", 1500 * time.Microsecond: "1500u", 99*time.Second + 1000: "99000001u", 100*time.Second + 1000: "100000m", 99 * time.Second: "99000m", 28 * time.Hour: "100800S", 30_000 * time.Hour: "1800000M", 1<<63 - 1: "2562047H",
	} {
		got := appendGRPCTimeout(nil, d)
		if back, ok := parseGRPCTimeout(got); string(got) != want || !ok || back > d && d > time.Microsecond {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
