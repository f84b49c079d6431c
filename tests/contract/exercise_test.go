package contract

import (
	"net/netip"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// exercise sends some requests through everything that was compiled, as far as that goes without sockets: nothing may panic.
func exercise(c *config.Config) {
	conn := &exchange.Connection{Source: netip.MustParseAddrPort("10.1.0.7:40000"), Destination: netip.MustParseAddrPort("10.0.0.1:80"), Transport: "tls", SNI: "api.example.com",
		Offered: []string{"h2", "http/1.1"}, Security: &exchange.Security{Mutual: true, Identity: exchange.Identity{URI: "spiffe://cluster.local/ns/shop/sa/web", TrustDomain: "cluster.local",
			Namespace: "shop", ServiceAccount: "web"}}}
	for _, l := range c.Listeners {
		chain := l.Choose(conn)
		if chain == nil {
			continue
		}
		for _, f := range chain.Network {
			f.Connection(conn)
		}
		if chain.HTTP == nil {
			continue
		}
		for _, f := range chain.HTTP.Filters {
			if f.Filter != nil {
				f.Filter.Request(request(conn, "web", "/"))
			}
		}
	}
	for _, table := range c.Routes {
		for _, authority := range []string{"web", "api.example.com:80", "b.example.com", "nobody", "", "[2001:db8::1]:80"} {
			for _, path := range []string{"/", "/x?a=1&q=b", "/items/12", "/p/a/b", "x", "/a/b/%2e%2e/c", "*"} {
				follow(table, request(conn, authority, path))
			}
		}
	}
}

func request(c *exchange.Connection, authority, path string) *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Reset(c)
	x.Protocol = exchange.HTTP1
	h := &x.Request
	h.Method, h.Scheme, h.Authority, h.Path = h.Intern("GET"), h.Intern("http"), h.Intern(authority), h.Intern(path)
	h.Add("x-a", "1")
	h.Add("cookie", "a=b")
	h.Add("origin", "https://web")
	return x
}

// follow does with a request what its route says.
func follow(table *route.Table, x *exchange.Exchange) {
	_, r := table.Match(x)
	if r == nil {
		return
	}
	if r.Redirect != nil {
		r.Location(x)
		return
	}
	for n := range uint64(3) {
		target := r.Pick(n * 37)
		if target == nil {
			return
		}
		for _, o := range target.Overrides {
			if o.Set && o.Filter != nil {
				o.Filter.Request(x)
			}
		}
		r.Outgoing(target, x)
		r.Incoming(target, x)
	}
}
