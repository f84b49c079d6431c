package cors

import (
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func ask(f *Filter, method, origin string, pre bool) (*exchange.Exchange, exchange.Outcome) {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{})
	x.Request.Method = exchange.View(method)
	if origin != "" {
		x.Request.Add("origin", origin)
	}
	if pre {
		x.Request.Add("access-control-request-method", "PUT")
	}
	o := f.Request(x)
	f.Response(x)
	return x, o
}

func TestPolicy(t *testing.T) {
	f, err := New(Config{
		Origins: []Origin{{Exact: "https://a.example"}, {Prefix: "https://b."}, {Regex: `https://c\d\.example`}},
		Methods: "GET,PUT", Headers: "x-a", Expose: "x-b", MaxAge: "60", Credentials: new(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	x, o := ask(f, "OPTIONS", "https://a.example", true)
	if o != exchange.LocalReply || x.Text() != "cors_response" || !x.Response.Get("access-control-allow-methods").Is("GET,PUT") ||
		!x.Response.Get("access-control-max-age").Is("60") || !x.Response.Get("access-control-allow-origin").Is("https://a.example") {
		t.Errorf("preflight: %v %v", o, x.Response.Fields)
	}
	for _, origin := range []string{"https://b.example", "https://c1.example"} {
		x, o = ask(f, "GET", origin, false)
		if o != exchange.OK || !x.Response.Get("access-control-expose-headers").Is("x-b") || !x.Response.Has("access-control-allow-credentials") {
			t.Errorf("%s: %v %v", origin, o, x.Response.Fields)
		}
	}
	for _, origin := range []string{"", "https://evil.example", "https://c1.example.evil"} {
		x, o = ask(f, "OPTIONS", origin, true)
		if o != exchange.OK || x.Response.Has("access-control-allow-origin") {
			t.Errorf("%q: %v %v", origin, o, x.Response.Fields)
		}
	}
}

// TestMaxAge: a preflight that is not to be kept says so; one that nothing is said of does not.
func TestMaxAge(t *testing.T) {
	for _, age := range []string{"", "0", "7"} {
		f, err := New(Config{Origins: []Origin{{Exact: "https://a"}}, MaxAge: age})
		if err != nil {
			t.Fatal(err)
		}
		x, _ := ask(f, "OPTIONS", "https://a", true)
		if !x.Response.Get("access-control-max-age").Is(age) || x.Response.Has("access-control-max-age") != (age != "") {
			t.Errorf("%q: %v", age, x.Response.Fields)
		}
	}
}

func TestForeignPreflightsAnsweredHere(t *testing.T) {
	f, _ := New(Config{Origins: []Origin{{Exact: "https://a"}}, Forward: new(false)})
	if x, o := ask(f, "OPTIONS", "https://b", true); o != exchange.LocalReply || x.Response.Has("access-control-allow-origin") {
		t.Errorf("%v %v", o, x.Response.Fields)
	}
}

// TestAsEnvoy holds what Envoy does where Fetch leaves it open, or does not care.
func TestAsEnvoy(t *testing.T) {
	f, err := New(Config{Origins: []Origin{{Exact: "https://a.example"}}, Methods: "*", Expose: "x-b"})
	if err != nil {
		t.Fatal(err)
	}
	x, o := ask(f, "OPTIONS", "https://a.example", true)
	if o != exchange.LocalReply || !x.Response.Get("access-control-allow-methods").Is("PUT") || !x.Response.Get("access-control-expose-headers").Is("x-b") {
		t.Errorf("a preflight of any method: %v %v", o, x.Response.Fields)
	}
	if x, _ := ask(f, "GET", "https://A.example", false); x.Response.Has("access-control-allow-origin") {
		t.Error("an origin is compared without regard to case")
	}
	all, err := New(Config{Origins: []Origin{{Exact: "*"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*exchange.Head){
		"two origins":     func(h *exchange.Head) { h.Add("origin", "https://a"); h.Add("origin", "https://b") },
		"an empty origin": func(h *exchange.Head) { h.Add("origin", "") },
		"an empty method": func(h *exchange.Head) { h.Add("origin", "https://a"); h.Set("access-control-request-method", "") },
	} {
		x := &exchange.Exchange{}
		x.Reset(&exchange.Connection{})
		x.Request.Method = exchange.View("OPTIONS")
		x.Request.Add("access-control-request-method", "PUT")
		change(&x.Request)
		if o := all.Request(x); o != exchange.OK {
			t.Errorf("%s: answered as a preflight", name)
		}
		if all.Response(x); x.Response.Has("access-control-allow-origin") != (name == "an empty method") {
			t.Errorf("%s: %v", name, x.Response.Fields)
		}
	}
}

// TestAllHeaders: who allows all of them allows by name what a preflight asks for.
func TestAllHeaders(t *testing.T) {
	f, err := New(Config{Origins: []Origin{{Exact: "https://a"}}, Headers: "*", Credentials: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	for want, lines := range map[string][]string{"": nil, "authorization": {"authorization"}, "x-a, x-b,x-c": {"x-a, x-b", "x-c"}} {
		x := &exchange.Exchange{}
		x.Reset(&exchange.Connection{})
		x.Request.Method = exchange.View("OPTIONS")
		x.Request.Add("origin", "https://a")
		x.Request.Add("access-control-request-method", "PUT")
		for _, l := range lines {
			x.Request.Add("access-control-request-headers", l)
		}
		f.Request(x)
		if !x.Response.Has("access-control-allow-headers") || !x.Response.Get("access-control-allow-headers").Is(want) {
			t.Errorf("%q: %v", want, x.Response.Fields)
		}
	}
}

// TestInherit: what a route's policy leaves out its virtual host's says, a "no" of the route's stays.
func TestInherit(t *testing.T) {
	outer, _ := New(Config{Origins: []Origin{{Exact: "https://a"}}, Methods: "PUT", Headers: "x-a", Expose: "x-b", MaxAge: "60", Credentials: new(true), Forward: new(false)})
	bare, _ := New(Config{})
	own, _ := New(Config{Origins: []Origin{{Exact: "https://b"}}, Methods: "GET", Headers: "x-c", Expose: "x-d", MaxAge: "0", Credentials: new(false), Forward: new(true)})
	for origin, c := range map[string]struct {
		f       *Filter
		want    string
		foreign exchange.Outcome
	}{
		"https://a": {bare, "PUT x-a 60 https://a true x-b", exchange.LocalReply},
		"https://b": {own, "GET x-c 0 https://b x-d", exchange.OK},
	} {
		f := c.f.Inherit(outer).(*Filter)
		x, _ := ask(f, "OPTIONS", origin, true)
		var got []string
		for _, l := range x.Response.Fields {
			got = append(got, string(l.Value))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("got %s, want %s", s, c.want)
		}
		if _, o := ask(f, "OPTIONS", "https://c", true); o != c.foreign {
			t.Errorf("%s: another origin's preflight: %v", origin, o)
		}
	}
}
