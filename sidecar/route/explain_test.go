package route

import (
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// asking is POST /items/7?debug=1 to catalog from bob.
func asking() *exchange.Exchange {
	x := &exchange.Exchange{Conn: &exchange.Connection{}}
	h := &x.Request
	h.Method, h.Scheme, h.Authority, h.Path = h.Intern("POST"), h.Intern("http"), h.Intern("catalog"), h.Intern("/items/7?debug=1")
	h.Add("x-user", "bob")
	return x
}

// Each condition that a request does not meet is told in words, with what there is instead.
func TestMissesAreTold(t *testing.T) {
	half := uint32(0)
	header := func(name string, m StringMatch) Match {
		return Match{Path: "/", Headers: []HeaderMatch{{Name: name, Match: m}}}
	}
	for want, m := range map[string]Match{
		`path: prefix "/old" did not match "/items/7"`:               {Path: "/old"},
		`path: prefix (any case) "/OLD" did not match "/items/7"`:    {Path: "/OLD", IgnoreCase: true},
		`path: exact "/items" did not match "/items/7"`:              {Path: "/items", PathKind: Exact},
		`path: path prefix "/item" did not match "/items/7"`:         {Path: "/item", PathKind: SegmentPrefix},
		`path: regex "/[a-z]+" did not match "/items/7"`:             {Path: "/[a-z]+", PathKind: Regex},
		`method: want CONNECT, not POST`:                             {PathKind: ConnectRequests},
		`it is for gRPC requests only`:                               {Path: "/", GRPC: true},
		`header x-user: exact "ann" did not match "bob"`:             header("x-user", StringMatch{Value: "ann"}),
		`header x-user: prefix (any case) "a" did not match "bob"`:   header("x-user", StringMatch{Kind: StringPrefix, Value: "a", IgnoreCase: true}),
		`header x-group: it is missing`:                              header("x-group", StringMatch{Value: "a"}),
		`method: exact "GET" did not match "POST"`:                   header(":method", StringMatch{Value: "GET"}),
		`header x-user: it must not be there, and is`:                {Path: "/", Headers: []HeaderMatch{{Name: "x-user", Absent: true, Match: StringMatch{Kind: StringPresent}}}},
		`header x-user: exact "bob" must not match, and does: "bob"`: {Path: "/", Headers: []HeaderMatch{{Name: "x-user", Invert: true, Match: StringMatch{Value: "bob"}}}},
		`query parameter debug: exact "2" did not match "1"`:         {Path: "/", Query: []QueryMatch{{Name: "debug", Match: StringMatch{Value: "2"}}}},
		`query parameter other: it is missing`:                       {Path: "/", Query: []QueryMatch{{Name: "other", Match: StringMatch{Kind: StringPresent}}}},
		`it takes 0% of requests, and this time not this one`:        {Path: "/", Fraction: &half},
		``: {Path: "/items", Headers: []HeaderMatch{{Name: "x-user", Match: StringMatch{Value: "bob"}}}},
	} {
		table, err := New(Config{VirtualHosts: []VirtualHostConfig{{Name: "v", Domains: []string{"catalog"}, Routes: []RouteConfig{
			{Name: "first", Match: m, Direct: &Direct{Status: 200}}, {Name: "rest", Match: Match{Path: "/"}, Direct: &Direct{Status: 200}},
		}}}})
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		x := asking()
		v, asked := table.Explain(x)
		if v == nil || len(asked) == 0 || asked[0].Missed != want {
			t.Errorf("want %q, got %+v", want, asked)
			continue
		}
		if _, r := table.Match(x); r != asked[len(asked)-1].Route || asked[len(asked)-1].Missed != "" {
			t.Errorf("%s: Match takes another route than Explain", want)
		}
	}
}

func TestNoHostIsNoRoute(t *testing.T) {
	table, err := New(Config{VirtualHosts: []VirtualHostConfig{{Name: "v", Domains: []string{"other"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if v, asked := table.Explain(asking()); v != nil || asked != nil {
		t.Errorf("got %v, %v", v, asked)
	}
}
