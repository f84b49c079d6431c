package route

import (
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// onDemand is a table whose control plane was asked about some hosts.
func onDemand(t *testing.T) *Table {
	t.Helper()
	base := mustNew(t, Config{IgnorePort: true, OnDemand: true, VirtualHosts: []VirtualHostConfig{
		{Name: "rest", Domains: []string{"*"}, Routes: []RouteConfig{to("rest", Match{Path: "/"})}}}})
	found := map[string]Found{}
	for host, domains := range map[string]string{"a": "a A.shop [fd00::1] *.a", "x.wild": "*.wild", "b": "b c"} {
		v, err := NewVirtualHost(VirtualHostConfig{Name: host, Domains: strings.Fields(domains), Routes: []RouteConfig{to(host, Match{Path: "/"})}})
		if err != nil {
			t.Fatal(err)
		}
		found[host] = Found{v, strings.Fields(domains)}
	}
	return base.With(found, []string{"nowhere", "c"})
}

func TestHostsOnDemand(t *testing.T) {
	table := onDemand(t)
	for host, want := range map[string]string{
		"a": "a", "A:80": "a", "a.SHOP": "a", "[fd00::1]:80": "a", // all names of what was found
		"z.a": "unasked", "y.wild": "unasked", "x.wild": "x.wild", // a longer name may be somebody else's
		"nowhere": "rest", "b": "b", "c": "rest", // the answer for the very name counts
		"new": "unasked", "": "rest", "a b": "rest", "a/b": "rest", "\xff": "rest", // no name of a host
		strings.Repeat("a", maxHost): "unasked", strings.Repeat("a", maxHost+1): "rest",
	} {
		x := &exchange.Exchange{}
		x.Reset(&exchange.Connection{})
		x.Request.Authority, x.Request.Path = exchange.View(host), exchange.View("/")
		v, r := table.Match(x)
		if v.Name != want || v.Unasked() != (want == "unasked") || (r == nil) != v.Unasked() {
			t.Errorf("%q: got %s, want %s", host, v.Name, want)
		}
	}
	if q := table.Question(exchange.View("New.Shop:80")); q != "new.shop" {
		t.Errorf("the question is %q", q)
	}
	if bare := mustNew(t, Config{OnDemand: true}).With(nil, []string{"nowhere"}); bare.host(exchange.View("nowhere")) != nil {
		t.Error("a host that nobody has leads somewhere")
	}
}
