package route

import (
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
)

// ask makes an exchange of "METHOD authority path" and header lines "name: value".
func ask(line string, fields ...string) *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{})
	parts := strings.Fields(line)
	x.Request.Method, x.Request.Authority, x.Request.Path = exchange.View(parts[0]), exchange.View(parts[1]), exchange.View(parts[2])
	x.Request.Scheme = exchange.View("http")
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Request.Add(name, value)
	}
	return x
}

func mustNew(t *testing.T, c Config) *Table {
	t.Helper()
	table, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func to(name string, m Match) RouteConfig {
	return RouteConfig{Name: name, Match: m, Clusters: []Weighted{{Cluster: name}}}
}

func TestDomains(t *testing.T) {
	c := Config{IgnorePort: true}
	for _, d := range []string{"a.com", "*.a.com", "*.b.a.com", "a.*", "a.com.*", "*", "[::1]"} {
		c.VirtualHosts = append(c.VirtualHosts, VirtualHostConfig{Name: d, Domains: []string{d}})
	}
	table := mustNew(t, c)
	for host, want := range map[string]string{
		"a.com": "a.com", "A.COM:80": "a.com", "x.a.com": "*.a.com", "x.b.a.com": "*.b.a.com", "b.a.com": "*.a.com",
		"a.net": "a.*", "a.com.net": "a.com.*", "z": "*", "[::1]": "[::1]", "[::1]:80": "[::1]", "a.com:x": "*",
	} {
		v, _ := table.Match(ask("GET " + host + " /"))
		if v.Name != want && !(host == "a.com:x" && v.Name == "a.*") {
			t.Errorf("%s: got %s, want %s", host, v.Name, want)
		}
	}
}

func TestMatch(t *testing.T) {
	header := func(name string, m StringMatch) HeaderMatch { return HeaderMatch{Name: name, Match: m} }
	none := uint32(0)
	for name, c := range map[string]struct {
		match Match
		yes   []*exchange.Exchange
		no    []*exchange.Exchange
	}{
		"raw prefix":      {Match{Path: "/foo"}, []*exchange.Exchange{ask("GET a /foobar"), ask("GET a /foo?x")}, []*exchange.Exchange{ask("GET a /fo"), ask("GET a /Foo")}},
		"segment prefix":  {Match{Path: "/foo/", PathKind: SegmentPrefix}, []*exchange.Exchange{ask("GET a /foo"), ask("GET a /foo/bar"), ask("GET a /foo?x")}, []*exchange.Exchange{ask("GET a /foobar")}},
		"exact":           {Match{Path: "/foo", PathKind: Exact}, []*exchange.Exchange{ask("GET a /foo?x=/foo/")}, []*exchange.Exchange{ask("GET a /foo/")}},
		"ignoring case":   {Match{Path: "/foo", PathKind: Exact, IgnoreCase: true}, []*exchange.Exchange{ask("GET a /FoO")}, []*exchange.Exchange{ask("GET a /FoOx")}},
		"regex, whole":    {Match{Path: "/a+|/b", PathKind: Regex}, []*exchange.Exchange{ask("GET a /aaa"), ask("GET a /b?q")}, []*exchange.Exchange{ask("GET a /aab"), ask("GET a /x/b")}},
		"method":          {Match{Headers: []HeaderMatch{header(":method", StringMatch{Value: "PUT"})}}, []*exchange.Exchange{ask("PUT a /")}, []*exchange.Exchange{ask("GET a /")}},
		"header prefix":   {Match{Headers: []HeaderMatch{header("x", StringMatch{Kind: StringPrefix, Value: "ab"})}}, []*exchange.Exchange{ask("GET a /", "x: abc")}, []*exchange.Exchange{ask("GET a /", "x: xab"), ask("GET a /")}},
		"header suffix":   {Match{Headers: []HeaderMatch{header("x", StringMatch{Kind: StringSuffix, Value: "BC", IgnoreCase: true})}}, []*exchange.Exchange{ask("GET a /", "x: abc")}, []*exchange.Exchange{ask("GET a /", "x: bcd")}},
		"header contains": {Match{Headers: []HeaderMatch{header("x", StringMatch{Kind: StringContains, Value: "b"})}}, []*exchange.Exchange{ask("GET a /", "x: abc")}, []*exchange.Exchange{ask("GET a /", "x: ac")}},
		"header regex":    {Match{Headers: []HeaderMatch{header("x", StringMatch{Kind: StringRegex, Value: "a.c"})}}, []*exchange.Exchange{ask("GET a /", "x: abc")}, []*exchange.Exchange{ask("GET a /", "x: abcd")}},
		"several lines":   {Match{Headers: []HeaderMatch{header("x", StringMatch{Value: "b"})}}, []*exchange.Exchange{ask("GET a /", "x: a", "x: b"), ask("GET a /", "x: b", "x: a")}, []*exchange.Exchange{ask("GET a /", "x: a", "x: a,b")}},
		"present":         {Match{Headers: []HeaderMatch{header("x", StringMatch{Kind: StringPresent})}}, []*exchange.Exchange{ask("GET a /", "x: ")}, []*exchange.Exchange{ask("GET a /")}},
		"absent":          {Match{Headers: []HeaderMatch{{Name: "x", Match: StringMatch{Kind: StringPresent}, Absent: true}}}, []*exchange.Exchange{ask("GET a /")}, []*exchange.Exchange{ask("GET a /", "x: 1")}},
		"inverted":        {Match{Headers: []HeaderMatch{{Name: "x", Match: StringMatch{Value: "a"}, Invert: true}}}, []*exchange.Exchange{ask("GET a /", "x: b"), ask("GET a /")}, []*exchange.Exchange{ask("GET a /", "x: a")}},
		"missing as empty": {Match{Headers: []HeaderMatch{{Name: "x", Match: StringMatch{Kind: StringRegex, Value: ".*"}, MissingAsEmpty: true}}},
			[]*exchange.Exchange{ask("GET a /")}, nil},
		"missing as present": {Match{Headers: []HeaderMatch{{Name: "x", Match: StringMatch{Kind: StringPresent}, MissingAsEmpty: true}}},
			[]*exchange.Exchange{ask("GET a /"), ask("GET a /", "x: 1")}, nil},
		"missing is not absent": {Match{Headers: []HeaderMatch{{Name: "x", Match: StringMatch{Kind: StringPresent}, Absent: true, MissingAsEmpty: true}}},
			nil, []*exchange.Exchange{ask("GET a /"), ask("GET a /", "x: 1")}},
		"query":         {Match{Query: []QueryMatch{{"q", StringMatch{Value: "1 2"}}}}, []*exchange.Exchange{ask("GET a /?p=0&q=1%202"), ask("GET a /?%71=1%202&q=3")}, []*exchange.Exchange{ask("GET a /?q=1"), ask("GET a /q=1")}},
		"query present": {Match{Query: []QueryMatch{{"q", StringMatch{Kind: StringPresent}}}}, []*exchange.Exchange{ask("GET a /?q"), ask("GET a /?q=")}, []*exchange.Exchange{ask("GET a /?qq=1")}},
		"all together": {Match{Path: "/a", Headers: []HeaderMatch{header("x", StringMatch{Value: "1"})}, Query: []QueryMatch{{"q", StringMatch{Value: "2"}}}},
			[]*exchange.Exchange{ask("GET a /a?q=2", "x: 1")}, []*exchange.Exchange{ask("GET a /a?q=2"), ask("GET a /a", "x: 1"), ask("GET a /b?q=2", "x: 1")}},
		"fraction of nothing": {Match{Fraction: &none}, nil, []*exchange.Exchange{ask("GET a /")}},
		"gRPC":                {Match{GRPC: true}, nil, []*exchange.Exchange{ask("GET a /")}},
	} {
		t.Run(name, func(t *testing.T) {
			table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{to("r", c.match)}}}})
			for i, x := range c.yes {
				if _, r := table.Match(x); r == nil {
					t.Errorf("request %d must match", i)
				}
			}
			for i, x := range c.no {
				if _, r := table.Match(x); r != nil {
					t.Errorf("request %d must not match", i)
				}
			}
		})
	}
}

func TestFirstRouteWins(t *testing.T) {
	table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{
		to("one", Match{Path: "/a"}), to("two", Match{Path: "/"}), to("three", Match{Path: "/a/b"}),
	}}}})
	for path, want := range map[string]string{"/a/b": "one", "/x": "two"} {
		if _, r := table.Match(ask("GET a " + path)); r.Name != want {
			t.Errorf("%s: got %s, want %s", path, r.Name, want)
		}
	}
}

func TestRewrite(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		match   Match
		rewrite Rewrite
		path    string
		want    string
	}{
		"prefix":            {Match{Path: "/old"}, Rewrite{Prefix: text("/new")}, "/old/x?y", "/new/x?y"},
		"prefix to root":    {Match{Path: "/old"}, Rewrite{Prefix: text("/")}, "/old", "/"},
		"prefix to nothing": {Match{Path: "/old"}, Rewrite{Prefix: text("")}, "/old?q", "/?q"},
		"exact":             {Match{Path: "/old", PathKind: Exact}, Rewrite{Prefix: text("/new")}, "/old?q", "/new?q"},
		"regex match":       {Match{Path: "/o.*", PathKind: Regex}, Rewrite{Prefix: text("/new")}, "/old/x", "/new"},
		"segment":           {Match{Path: "/old/", PathKind: SegmentPrefix}, Rewrite{Prefix: text("/new")}, "/old/x", "/new/x"},
		"regex":             {Match{Path: "/"}, Rewrite{Regex: &RegexRewrite{`/(\w+)/(\w+)`, `/\2/$\1\\`}}, "/a/b?q", `/b/$a\?q`},
		"regex to nothing":  {Match{Path: "/api"}, Rewrite{Regex: &RegexRewrite{`^/api(.*)$`, `\1`}}, "/api?x=1", "/api?x=1"},
		"regex to less":     {Match{Path: "/api"}, Rewrite{Regex: &RegexRewrite{`^/api(.*)$`, `\1`}}, "/api/a?x=1", "/a?x=1"},
	} {
		t.Run(name, func(t *testing.T) {
			rc := to("r", c.match)
			rc.Rewrite = c.rewrite
			rc.Rewrite.Host = "other"
			table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{rc}}}})
			x := ask("GET a " + c.path)
			_, r := table.Match(x)
			r.Outgoing(r.Pick(0), x)
			if !x.Request.Path.Is(c.want) || !x.Request.Authority.Is("other") || x.Request.Get("x-envoy-original-path").Is(c.path) == (c.path == c.want) || !x.Request.Has("x-envoy-original-host") {
				t.Errorf("got %s %s %v", x.Request.Authority, x.Request.Path, x.Request.Fields)
			}
		})
	}
}

// TestForwardedHost: the host that is replaced is told where that is asked for, after those of proxies before, once.
func TestForwardedHost(t *testing.T) {
	for name, c := range map[string]struct {
		tell   bool
		before []string
		want   string
	}{
		"not asked for": {false, nil, ""}, "first": {true, nil, "a"}, "after another": {true, []string{"x"}, "x,a"},
		"told already": {true, []string{"x,a"}, "x,a"}, "in several fields": {true, []string{"a", "x"}, "a,x,a"},
	} {
		rc := to("r", Match{Path: "/"})
		rc.Rewrite = Rewrite{Host: "other", TellHost: c.tell}
		table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{rc}}}})
		x := ask("GET a /")
		for _, v := range c.before {
			x.Request.Add("x-forwarded-host", v)
		}
		_, r := table.Match(x)
		r.Outgoing(r.Pick(0), x)
		if got := x.Request.Get("x-forwarded-host"); string(got) != c.want || !x.Request.Authority.Is("other") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// TestRedirectKeepsTheScheme: where the redirect names none, it is the request's, and what that implies of ports is left out.
func TestRedirectKeepsTheScheme(t *testing.T) {
	table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{{Redirect: &Redirect{Path: "/new"}}}}}})
	for scheme, want := range map[string]string{"http": "http://a:443/new", "https": "https://a/new"} {
		x := ask("GET a:443 /")
		x.Request.Scheme = exchange.View(scheme)
		_, r := table.Match(x)
		if r.Location(x); !x.Response.Get("location").Is(want) {
			t.Errorf("%s: got %s", scheme, x.Response.Get("location"))
		}
	}
}

func TestRedirect(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		redirect Redirect
		host     string
		want     string
	}{
		"path keeps the query":      {Redirect{Path: "/new"}, "a", "http://a/new?q"},
		"path strips the query":     {Redirect{Path: "/new", StripQuery: true}, "a", "http://a/new"},
		"path with its own query":   {Redirect{Path: "/new?x"}, "a", "http://a/new?x"},
		"its own query stays":       {Redirect{Path: "/new?x", StripQuery: true}, "a", "http://a/new?x"},
		"path without a slash":      {Redirect{Path: "new"}, "a", "http://a/new?q"},
		"prefix":                    {Redirect{Prefix: text("/new")}, "a", "http://a/new/x?q"},
		"prefix to no slash":        {Redirect{Prefix: text(".b")}, "a", "http://a/.b/x?q"},
		"regex to no slash":         {Redirect{Regex: &RegexRewrite{`^/old/`, `.b`}}, "a", "http://a/.bx?q"},
		"regex to nothing":          {Redirect{Regex: &RegexRewrite{`.*`, ``}}, "a", "http://a/old/x?q"},
		"strip query":               {Redirect{StripQuery: true}, "a", "http://a/old/x"},
		"host":                      {Redirect{Host: "b"}, "a:8080", "http://b/old/x?q"},
		"scheme drops default port": {Redirect{Scheme: "https"}, "a:80", "https://a/old/x?q"},
		"scheme keeps other port":   {Redirect{Scheme: "https"}, "a:8080", "https://a:8080/old/x?q"},
		"port":                      {Redirect{Port: 8443, Scheme: "https"}, "a:80", "https://a:8443/old/x?q"},
		"implied port":              {Redirect{Port: 443, Scheme: "https"}, "a", "https://a/old/x?q"},
	} {
		t.Run(name, func(t *testing.T) {
			rc := RouteConfig{Match: Match{Path: "/old"}, Redirect: &c.redirect}
			table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{rc}}}})
			x := ask("GET " + c.host + " /old/x?q")
			_, r := table.Match(x)
			if status := r.Location(x); status != 301 || !x.Response.Get("location").Is(c.want) {
				t.Errorf("got %d %s, want %s", status, x.Response.Get("location"), c.want)
			}
		})
	}
}

func TestWeights(t *testing.T) {
	rc := RouteConfig{Clusters: []Weighted{{Cluster: "a", Weight: 90}, {Cluster: "none"}, {Cluster: "b", Weight: 10}}}
	table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{rc}}}})
	_, r := table.Match(ask("GET a /"))
	got := map[string]int{}
	for n := range uint64(1000) {
		got[r.Pick(n).Cluster]++
	}
	if got["a"] != 900 || got["b"] != 100 {
		t.Errorf("got %v", got)
	}
}

func TestLayers(t *testing.T) {
	add := func(v string) headers.Config { return headers.Config{Add: []headers.Op{{Name: "x", Value: v}}} }
	rc := to("r", Match{})
	rc.Request, rc.Clusters[0].Request = add("route"), add("cluster")
	rc.Overrides = []filter.Override{{Kind: filter.Fault}}
	table := mustNew(t, Config{Request: add("table"), VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Request: add("vhost"),
		Routes: []RouteConfig{rc}, Retry: &Retry{Attempts: 7}, Overrides: []filter.Override{{Kind: filter.CORS}}}}})
	x := ask("GET a /")
	_, r := table.Match(x)
	target := r.Pick(0)
	r.Outgoing(target, x)
	var got []string
	for _, f := range x.Request.Fields {
		got = append(got, f.Value.Copy())
	}
	if s := strings.Join(got, " "); s != "cluster route vhost table" {
		t.Errorf("the most specific operations come first: got %s", s)
	}
	if !target.Overrides[filter.Fault].Set || !target.Overrides[filter.CORS].Set || target.Overrides[filter.Deny].Set || r.Retry.Attempts != 7 {
		t.Errorf("got %+v", target.Overrides)
	}
}

func TestNewRefuses(t *testing.T) {
	vhost := func(rs ...RouteConfig) Config {
		return Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"a"}}, {Domains: []string{"*"}, Routes: rs}}}
	}
	good := []Weighted{{Cluster: "c", Weight: 1}}
	for want, c := range map[string]Config{
		"virtual_hosts[1].routes[0].match.path: ":            vhost(RouteConfig{Match: Match{Path: "(", PathKind: Regex}, Clusters: good}),
		"virtual_hosts[1].routes[0].match.headers[0].value:": vhost(RouteConfig{Match: Match{Headers: []HeaderMatch{{Name: "x", Match: StringMatch{Kind: StringRegex, Value: "("}}}}, Clusters: good}),
		"virtual_hosts[1].routes[0].action":                  vhost(RouteConfig{}),
		"virtual_hosts[1].routes[0].clusters: weights":       vhost(RouteConfig{Clusters: []Weighted{{Cluster: "a"}, {Cluster: "b"}}}),
		"virtual_hosts[1].routes[0].rewrite.substitution":    vhost(RouteConfig{Clusters: good, Rewrite: Rewrite{Regex: &RegexRewrite{"a", `\1`}}}),
		"virtual_hosts[1].routes[0].request_headers.":        vhost(RouteConfig{Clusters: good, Request: headers.Config{Remove: []string{"host"}}}),
		"virtual_hosts[0].domains[1]: \"a\" is taken":        {VirtualHosts: []VirtualHostConfig{{Domains: []string{"A", "a"}}}},
		"virtual_hosts[0].domains: none":                     {VirtualHosts: []VirtualHostConfig{{}}},
	} {
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestHints holds that what a route wants is asked wherever its hint cannot tell, and that what it takes is never passed over.
func TestHints(t *testing.T) {
	paths := []string{"", "/", "/a", "/a/", "/a/b", "/A/b", "/ab", "/a-long-path-of-more-than-fifteen/bytes", "/a-long-path-of-other/bytes", "/b"}
	passed := 0
	for _, kind := range []PathKind{Exact, Prefix, SegmentPrefix, Regex} {
		for _, fold := range []bool{false, true} {
			for _, want := range paths[1:] {
				if kind == Regex && fold {
					continue
				}
				m := Match{PathKind: kind, Path: want, IgnoreCase: fold}
				table, err := New(Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Routes: []RouteConfig{
					{Match: m, Clusters: []Weighted{{Cluster: "c"}}}}}}})
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range paths {
					x := &exchange.Exchange{}
					x.Request.Path = exchange.View(path)
					_, got := table.Match(x)
					if takes(kind, fold, want, path) != (got != nil) {
						t.Errorf("kind %d, ignoring case %v: %q takes %q: %v", kind, fold, want, path, got != nil)
					}
					if got != nil {
						passed++
					}
				}
			}
		}
	}
	if passed == 0 {
		t.Error("nothing was taken")
	}
}

// takes is what a path's match means.
func takes(kind PathKind, fold bool, want, path string) bool {
	if fold {
		want, path = strings.ToLower(want), strings.ToLower(path)
	}
	switch kind {
	case Exact, Regex:
		return path == want
	case Prefix:
		return strings.HasPrefix(path, want)
	}
	want = strings.TrimRight(want, "/")
	return path == want || strings.HasPrefix(path, want+"/")
}

// heir says from whom it has inherited.
type heir struct {
	name string
	from filter.HTTP
}

func (heir) Request(*exchange.Exchange) exchange.Outcome { return exchange.OK }

func (h heir) Inherit(outer filter.HTTP) filter.HTTP { return heir{h.name, outer} }

// TestCORSLevels: a level's policy inherits from that around it, and where there is no cluster there is none.
func TestCORSLevels(t *testing.T) {
	of := func(name string) []filter.Override {
		return []filter.Override{{Kind: filter.CORS, Filter: heir{name: name}}}
	}
	rc := to("r", Match{Path: "/a"})
	rc.Overrides, rc.Clusters[0].Overrides = of("route"), of("cluster")
	table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Domains: []string{"*"}, Overrides: of("host"), Routes: []RouteConfig{rc,
		{Match: Match{Path: "/redirect"}, Redirect: &Redirect{Host: "b"}, Overrides: of("route")}, {Match: Match{Path: "/direct"}, Direct: &Direct{Status: 200}}}}}})
	_, r := table.Match(ask("GET a /a"))
	if got, want := r.Pick(0).Overrides[filter.CORS].Filter, (heir{"cluster", heir{"route", heir{"host", nil}}}); got != filter.HTTP(want) {
		t.Errorf("got %v", got)
	}
	for _, path := range []string{"/redirect", "/direct"} {
		_, r := table.Match(ask("GET a " + path))
		if o := r.Local()[filter.CORS]; !o.Set || o.Filter != nil {
			t.Errorf("%s: CORS by %v", path, o.Filter)
		}
	}
}
