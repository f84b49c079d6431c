package explain

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/fault"
	"github.com/heddle-mesh/heddle/sidecar/filter/ratelimit"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
	"github.com/heddle-mesh/heddle/sidecar/forward"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// million is what shares of the fault filter are out of.
const million = 1_000_000

// head is the request as filters and routes see it.
func head(c *exchange.Connection, chain *config.HTTP, r *Request) (*exchange.Exchange, exchange.Outcome) {
	x := &exchange.Exchange{}
	x.Reset(c)
	x.Protocol = r.protocol
	h := &x.Request
	h.Method, h.Authority, h.Path = h.Intern(r.Method), h.Intern(r.authority), h.Intern(r.path)
	for _, f := range r.headers {
		h.Add(f[0], f[1])
	}
	if kind := h.Get("upgrade"); r.protocol == exchange.HTTP1 && len(kind) > 0 && strings.Contains(strings.ToLower(h.Get("connection").Copy()), "upgrade") && !kind.EqualFold("h2c") {
		x.Upgrade = kind
	}
	return x, forward.Prepare(x, chain)
}

// request judges, routes and forwards one request.
func (w *walk) request(h *Hop, p *replica.Proxy, chain *config.FilterChain, c *exchange.Connection, r Request) {
	table := p.Config.Table(chain.HTTP)
	x, o := head(c, chain.HTTP, &r)
	switch {
	case o != exchange.OK:
		w.end(h, h.Share, failed(o, "the proxy takes the request for malformed (its path)", "correct the path"))
		return
	case table == nil:
		w.end(h, h.Share, failed(exchange.NoRoute, "the proxy has no route table "+chain.HTTP.RouteName, ""))
		return
	}
	vhost, asked := table.Explain(x)
	var taken *route.Route
	if n := len(asked); n > 0 && asked[n-1].Missed == "" {
		taken = asked[n-1].Route
	}
	if h.Side != "server" {
		w.told(h, p, vhost, asked)
	}
	if redirected := vhost != nil && vhost.RequireTLS && c.Security == nil; redirected || taken == nil || len(taken.Targets()) == 0 {
		w.answered(h, p, chain, answer{x: x, vhost: vhost, route: taken}, c, &r)
		return
	}
	if x.Upgrade != nil && !taken.Upgrade(x.Upgrade, chain.HTTP.Upgrades) {
		w.end(h, h.Share, failed(exchange.UpgradeRefused, "the proxy does not let the protocol change to "+x.Upgrade.Copy(), ""))
		return
	}
	for _, t := range taken.Targets() {
		x, _ := head(c, chain.HTTP, &r)
		share := h.Share * taken.Share(t)
		if share > 0 && w.filtered(h, chain.HTTP, taken, t, x) {
			w.sent(h, p, leg{taken, t, x, share}, c, r)
		}
		if h.End != nil {
			return
		}
	}
}

// filtered runs a chain's filters as the proxy does; false: one of them answers, and it ends here.
func (w *walk) filtered(h *Hop, chain *config.HTTP, r *route.Route, t *route.Target, x *exchange.Exchange) bool {
	known := len(h.Policies) > 0 // by the target before
	for _, named := range chain.Filters {
		f := override(named, r, t)
		switch f := f.(type) {
		case nil:
		case *rbac.Filter:
			if !known && !w.judged(h, f, x.Conn, x) {
				return false
			}
		case *fault.Filter:
			if !w.faulty(h, f, x) {
				return false
			}
		case *ratelimit.Filter:
			h.Notes = append(h.Notes, "a local rate limit applies: some requests may be answered 429 (RL)")
		default:
			if o := f.Request(x); o != exchange.OK {
				w.end(h, h.Share, answeredBy(o, x, "the "+named.Kind.String()+" filter answers"))
				return false
			}
		}
	}
	return true
}

// override is the filter that a route has in the place of its chain's.
func override(named filter.Named, r *route.Route, t *route.Target) filter.HTTP {
	if r == nil {
		return named.Filter
	}
	over := r.Local()
	if t != nil {
		over = &t.Overrides
	}
	if o := &over[named.Kind]; o.Set {
		return o.Filter
	}
	return named.Filter
}

// faulty tells of injected faults. One that hits every request ends it here.
func (w *walk) faulty(h *Hop, f *fault.Filter, x *exchange.Exchange) bool {
	c := f.Config()
	percent := func(share uint32) string { return strconv.FormatFloat(float64(share)*100/million, 'g', -1, 64) + "%" }
	if c.Delay > 0 && c.DelayShare > 0 {
		note(h, fmt.Sprintf("fault: %s of requests are delayed by %s (DI)", percent(c.DelayShare), c.Delay))
	}
	switch {
	case c.AbortShare == 0:
		return true
	case c.AbortShare < million:
		note(h, fmt.Sprintf("fault: %s of requests are aborted (FI)", percent(c.AbortShare)))
		return true
	}
	o := f.Request(x)
	w.end(h, h.Share, answeredBy(o, x, "the rule's fault aborts every request"))
	return false
}

func note(h *Hop, text string) {
	for _, n := range h.Notes {
		if n == text {
			return
		}
	}
	h.Notes = append(h.Notes, text)
}

// answeredBy is the verdict of an answer that a proxy gives by itself.
func answeredBy(o exchange.Outcome, x *exchange.Exchange, reason string) Verdict {
	v := failed(o, reason, "")
	if x.Reply.Status != 0 {
		v.Status = x.Reply.Status
	}
	v.Succeeds = v.Status > 0 && v.Status < 400
	return v
}

// answer is a request that no cluster gets.
type answer struct {
	x     *exchange.Exchange
	vhost *route.VirtualHost
	route *route.Route
}

// answered is what the proxy answers by itself: a redirect, a direct response, or that there is no route.
func (w *walk) answered(h *Hop, p *replica.Proxy, chain *config.FilterChain, a answer, c *exchange.Connection, r *Request) {
	if !w.filtered(h, chain.HTTP, a.route, nil, a.x) {
		return
	}
	l := p.Config.Listener(c.Via.Listener)
	switch {
	case a.vhost != nil && a.vhost.RequireTLS && c.Security == nil:
		w.end(h, h.Share, Verdict{Succeeds: true, Status: 301, Reason: fmt.Sprintf("the Gateway's server redirects to https://%s%s", r.authority, r.path)})
	case a.route == nil && a.vhost == nil && l != nil && l.Misdirected(chain, c, []byte(r.authority)):
		w.end(h, h.Share, failed(exchange.Misdirected, "the host is another server's of the same port", "connect with the host as SNI"))
	case a.route == nil:
		w.end(h, h.Share, noRoute(h, a.vhost, r))
	case a.route.Redirect != nil:
		status := a.route.Location(a.x)
		h.Route = &Route{Name: a.route.Name, Does: "redirects", Timeout: "none", Retries: "none"}
		w.end(h, h.Share, Verdict{Succeeds: true, Status: status, Reason: fmt.Sprintf("the proxy redirects to %s", a.x.Response.Get("location"))})
	default:
		h.Route = &Route{Name: a.route.Name, Does: "answers by itself", Timeout: "none", Retries: "none"}
		v := Verdict{Succeeds: a.route.Direct.Status < 400, Status: a.route.Direct.Status, Reason: "the rule answers by itself (directResponse)"}
		if a.route.Name == "block_all" {
			v.Reason = "nobody declared the host, and outboundTrafficPolicy is REGISTRY_ONLY"
			v.Advice = "declare the host in a ServiceEntry"
		}
		w.end(h, h.Share, v)
	}
}

func noRoute(h *Hop, v *route.VirtualHost, r *Request) Verdict {
	if v == nil {
		out := failed(exchange.NoRoute, fmt.Sprintf("no virtual host has the host %q", r.authority), "")
		if h.Side == "gateway" {
			out.Advice = "let a VirtualService with that host name this Gateway among its gateways, and the Gateway's server have the host"
		}
		return out
	}
	out := failed(exchange.NoRoute, fmt.Sprintf("virtual host %s has no rule for the request", v.Name), "")
	if h.Host != nil && h.Host.RuledBy != "" {
		out.Reason = fmt.Sprintf("none of the rules of %s matches the request", h.Host.RuledBy)
	}
	out.Advice = "add a rule that matches, or one without match at the end"
	return out
}

// leg is the way to one of a route's clusters.
type leg struct {
	route  *route.Route
	target *route.Target
	x      *exchange.Exchange
	share  float64
}

// sent follows a request to one of a route's clusters.
func (w *walk) sent(h *Hop, p *replica.Proxy, l leg, c *exchange.Connection, old Request) {
	r, t, x := l.route, l.target, l.x
	next := old
	next.key, next.pin, next.relayed = upstream.Key{Name: x.Request.Authority.Copy()}, x.Pin, false
	r.Outgoing(t, x)
	if cluster := p.Config.Clusters[t.Cluster]; cluster != nil && cluster.Hashing.Size > 0 {
		next.key.Hash, next.key.Given, _ = r.Hash(x)
	}
	next.Method, next.authority, next.path, next.headers = x.Request.Method.Copy(), x.Request.Authority.Copy(), x.Request.Path.Copy(), nil
	for _, f := range x.Request.Fields {
		next.headers = append(next.headers, [2]string{f.Name.Copy(), f.Value.Copy()})
	}
	if h.Route == nil {
		h.Route = routeWords(r, &old, &next)
	}
	if cluster := p.Config.Clusters[t.Cluster]; cluster != nil {
		switch cluster.Protocol {
		case upstream.UseHTTP1:
			next.protocol = exchange.HTTP1
		case upstream.UseHTTP2:
			next.protocol = exchange.HTTP2
		}
	}
	w.forward(h, p, t.Cluster, c, next, l.share)
}

// changes are what a route makes of a request, in words.
func changes(before, after *Request) []string {
	var out []string
	if before.path != after.path {
		out = append(out, fmt.Sprintf("path %s becomes %s", before.path, after.path))
	}
	if before.authority != after.authority {
		out = append(out, fmt.Sprintf("host %s becomes %s", before.authority, after.authority))
	}
	has := func(all [][2]string, one [2]string) bool {
		for _, h := range all {
			if h == one {
				return true
			}
		}
		return false
	}
	for _, f := range after.headers {
		if !has(before.headers, f) && !ours(f[0]) {
			out = append(out, fmt.Sprintf("header %s: %s", f[0], f[1]))
		}
	}
	for _, f := range before.headers {
		if !has(after.headers, f) {
			out = append(out, fmt.Sprintf("without header %s: %s", f[0], f[1]))
		}
	}
	return out
}

// ours are headers that proxies add to every request.
func ours(name string) bool {
	return strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "x-forwarded-") || name == "x-request-id"
}
