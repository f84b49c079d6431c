package simulation

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// traffic is what a client sends: a request, or bytes.
type traffic struct {
	http      bool
	protocol  exchange.Protocol
	method    string
	authority string
	path      string
	headers   [][2]string
	tls       bool // the client's own
	sni       string
	hops      int
	key       upstream.Key // what hashing balancers choose by
	pin       exchange.Pin // whom the client wants to stay with
}

// journey is what became of it, in words, and which pods it may have ended at with what share.
type journey struct {
	words map[string]bool
	pods  map[string]float64
}

func newJourney() *journey { return &journey{words: map[string]bool{}, pods: map[string]float64{}} }

func (j *journey) say(format string, args ...any) { j.words[fmt.Sprintf(format, args...)] = true }

// String is for failures.
func (j *journey) String() string {
	var out []string
	for w := range j.words {
		out = append(out, w)
	}
	for p, share := range j.pods {
		out = append(out, fmt.Sprintf("%s=%.0f%%", p, share*100))
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

// send lets a client's application open a connection.
func (m *mesh) send(from *pod, source, to netip.AddrPort, tr traffic, j *journey) {
	c := &exchange.Connection{Source: source, Local: to, Destination: to}
	describe(c, tr)
	if from != nil && from.proxy != nil && !from.gateway {
		if to.Addr().IsLoopback() || to.Addr().String() == from.ip && from.proxy.called(to) != nil { // not captured
			m.within(from, c, tr, j)
			return
		}
		m.serve(from.proxy, from.proxy.captured(to), c, tr, 1, j)
		return
	}
	m.route(c, to, tr, 1, j)
}

// within brings a connection to an address of the pod itself: where its proxy listens, or to the application.
func (m *mesh) within(p *pod, c *exchange.Connection, tr traffic, j *journey) {
	if l := p.proxy.called(c.Local); l != nil {
		c.Called = true
		m.serve(p.proxy, l, c, tr, 1, j)
		return
	}
	m.delivered(p, c.Local.Port(), nil, tr, 1, j)
}

// describe fills in what first bytes tell.
func describe(c *exchange.Connection, tr traffic) {
	c.Transport = "raw_buffer"
	switch {
	case tr.tls:
		c.Transport, c.SNI, c.Offered = "tls", tr.sni, []string{"h2", "http/1.1"}
	case tr.http && tr.protocol == exchange.HTTP2:
		c.Offered = []string{"h2c"}
	case tr.http:
		c.Offered = []string{"http/1.1"}
	}
}

// route is what the cluster's network does with a connection that no proxy looks at.
func (m *mesh) route(c *exchange.Connection, to netip.AddrPort, tr traffic, share float64, j *journey) {
	for _, s := range m.snapshot.Services {
		if s.Entry || !slices.Contains(s.Addresses, to.Addr().String()) {
			continue
		}
		var ends []netip.AddrPort
		if set := m.endpoints.Sets[model.EndpointKey{Host: s.Host, Namespace: s.Namespace, Port: to.Port()}]; set != nil {
			for _, e := range set.Endpoints {
				if e.Health == model.Healthy {
					ends = append(ends, netip.AddrPortFrom(netip.MustParseAddr(e.Address), e.Port))
				}
			}
		}
		for _, end := range ends {
			m.arrive(c.Source, end, nil, nil, tr, share/float64(len(ends)), j)
		}
		return
	}
	m.arrive(c.Source, to, nil, nil, tr, share, j)
}

// arrive brings a connection to an address: a pod with or without proxy, or the world outside.
func (m *mesh) arrive(source, to netip.AddrPort, shake *security, e *exchange.Endpoint, tr traffic, share float64, j *journey) {
	p := m.byIP[to.Addr().Unmap().String()]
	switch {
	case p == nil:
		m.outside(to.String(), shake, e, tr, j)
		return
	case p.proxy == nil && shake != nil:
		j.say("503")
		j.say("UF")
		return
	case p.proxy == nil:
		m.delivered(p, to.Port(), nil, tr, share, j)
		return
	}
	c := &exchange.Connection{Source: source, Local: to, Destination: to}
	describe(c, tr)
	l := p.proxy.config.Listener(wire.ListenerVirtualInbound)
	switch {
	case p.gateway:
		l = p.proxy.bound(to.Port())
		j.say("via=%s", p.name)
	case p.excluded == to.Port():
		if l = p.proxy.called(to); l == nil {
			m.delivered(p, to.Port(), nil, tr, share, j)
			return
		}
		c.Called = true
	}
	if l != nil {
		j.say("listener=%s", l.Name)
	}
	if l == nil {
		j.say("closed")
		return
	}
	if shake != nil {
		m.handshake(p, l, c, shake, e, tr, share, j)
		return
	}
	m.serve(p.proxy, l, c, tr, share, j)
}

// outside notes that traffic left for the world.
func (m *mesh) outside(where string, shake *security, e *exchange.Endpoint, tr traffic, j *journey) {
	j.say("external=%s", where)
	if shake != nil {
		sni, err := shake.offered(e, tr)
		if err != nil {
			j.unshaken(err)
			return
		}
		j.say("originated")
		j.say("sni=%s", sni)
		if name, verified := shake.presents(m.pki, e, tr); verified {
			j.say("verified")
			j.say("presents=%s", name)
		}
	}
	j.say("200")
	j.final(tr)
}

// delivered notes that traffic reached an application.
func (m *mesh) delivered(p *pod, port uint16, s *exchange.Security, tr traffic, share float64, j *journey) {
	j.pods[p.name] += share
	j.say("200")
	j.say("port=%d", port)
	if s != nil && s.Mutual {
		j.say("mtls")
		j.say("peer=%s", s.Identity.ServiceAccount)
		j.say("sni=%s", s.SNI)
	} else {
		j.say("plain")
	}
	j.final(tr)
}

func (j *journey) final(tr traffic) {
	if !tr.http {
		j.say("tcp")
		return
	}
	j.say("path=%s", tr.path)
	j.say("host=%s", tr.authority)
	if tr.protocol == exchange.HTTP2 {
		j.say("http2")
	}
	for _, h := range tr.headers {
		j.say("%s:%s", h[0], h[1])
	}
}

// serve takes a connection through a listener of a proxy.
func (m *mesh) serve(p *proxy, l *config.Listener, c *exchange.Connection, tr traffic, share float64, j *journey) {
	if tr.hops++; tr.hops > 8 {
		j.say("loop")
		return
	}
	c.Via = l.Via
	if c.Called && l.Via != nil && l.Via.Direction == exchange.Outbound {
		j.say("listener=%s", l.Name)
	}
	switch l.Proxied {
	case config.Proxies:
		j.say("announced")
	case config.MayBeProxied:
		j.say("may-be-announced")
	}
	if l.Inspect.Timeout > 0 {
		j.say("detection=%s", l.Inspect.Timeout)
	}
	if in := l.Inspect; l.Via != nil && l.Via.Direction == exchange.Inbound && in.HTTP && !in.HTTPOff.Has(c.Destination.Port()) {
		j.say("sniffed")
	}
	chain := l.Choose(c)
	if chain == nil {
		j.say("closed")
		return
	}
	if chain.TLS != nil && c.Security == nil && tr.tls { // the client's own TLS ends here
		m.terminate(p, l, c, tr, share, j)
		return
	}
	for _, f := range chain.Network {
		if o := f.Connection(c); o != exchange.OK {
			j.say("closed")
			j.say("denied")
			return
		}
	}
	if chain.TCP != nil {
		m.relay(p, chain.TCP, c, tr, share, j)
		return
	}
	m.request(p, chain, c, tr, share, j)
}

// relay sends bytes on.
func (m *mesh) relay(p *proxy, t *config.TCP, c *exchange.Connection, tr traffic, share float64, j *journey) {
	j.observe(c.Via, false)
	total := 0.0
	for _, w := range t.Clusters {
		total += float64(max(w.Weight, 1))
	}
	if t.MaxDuration > 0 && (c.Via == nil || c.Via.Direction != exchange.Inbound) {
		j.say("longest=%s", t.MaxDuration)
	}
	if c.Via == nil || c.Via.Direction != exchange.Inbound {
		j.say("relay-idle=%s", t.IdleTimeout)
	}
	if t.Tunnel != nil {
		j.say("tunnel=%s", t.Tunnel.Authority)
	}
	tr.key = upstream.Key{Name: t.Name(c.SNI)}
	if t.HashSourceIP {
		tr.key.Hash, tr.key.Given = route.HashAddr(c.Source.Addr()), true
	}
	for _, w := range t.Clusters {
		part := float64(max(w.Weight, 1)) / total
		if len(t.Clusters) == 1 {
			part = 1
		}
		m.forward(p, w.Cluster, c, tr, share*part, j)
	}
}

// request judges, routes and forwards one request.
func (m *mesh) request(p *proxy, chain *config.FilterChain, c *exchange.Connection, tr traffic, share float64, j *journey) {
	j.observe(c.Via, true)
	table := p.config.Table(chain.HTTP)
	if table == nil {
		j.say("no-routes")
		return
	}
	x := m.exchange(c, tr)
	table = p.host(table, chain.HTTP, x)
	vhost, r := table.Match(x)
	j.adds(c.Via, chain.HTTP, vhost, r)
	shares := map[*route.Target]float64{nil: 1}
	if r != nil && r.Pick(0) != nil {
		delete(shares, nil)
		const samples = 6000
		for n := range uint64(samples) {
			shares[r.Pick(n)] += 1.0 / samples
		}
	}
	if r != nil && r.Name != "" && (c.Via == nil || c.Via.Direction != exchange.Inbound) {
		j.say("route=%s", r.Name)
	}
	if x.Upgrade != nil && r != nil && !r.Upgrade(x.Upgrade, chain.HTTP.Upgrades) {
		j.say("403")
		return
	}
	for target, part := range shares {
		x := m.exchange(c, tr)
		if o := judge(chain.HTTP, r, target, x); o != exchange.OK {
			status := o.Status()
			if x.Reply.Status != 0 {
				status = x.Reply.Status
			}
			j.say("%d", status)
			if o == exchange.Denied {
				j.say("denied")
			}
			if o == exchange.FaultAbort {
				j.say("FI")
			}
			for _, h := range x.Response.Fields {
				j.say("%s:%s", h.Name, h.Value)
			}
			continue
		}
		if x.Delay > 0 {
			j.say("delay=%s", x.Delay)
		}
		m.act(p, vhost, r, target, c, x, tr, share*part, j)
	}
}

// exchange makes the request that filters and routes see.
func (m *mesh) exchange(c *exchange.Connection, tr traffic) *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Reset(c)
	x.Protocol = tr.protocol
	h := &x.Request
	h.Method, h.Scheme, h.Authority, h.Path = h.Intern(tr.method), h.Intern("http"), h.Intern(tr.authority), h.Intern(tr.path)
	if c.Security != nil {
		h.Scheme = h.Intern("https")
	}
	for _, f := range tr.headers {
		h.Add(f[0], f[1])
	}
	if kind := h.Get("upgrade"); tr.protocol == exchange.HTTP1 && h.Get("connection").EqualFold("upgrade") && !kind.EqualFold("h2c") {
		x.Upgrade = kind
	}
	return x
}

// judge runs the filters of a chain as forward does.
func judge(h *config.HTTP, r *route.Route, target *route.Target, x *exchange.Exchange) exchange.Outcome {
	for _, named := range h.Filters {
		f := named.Filter
		if r != nil {
			over := r.Local()
			if target != nil {
				over = &target.Overrides
			}
			if o := &over[named.Kind]; o.Set {
				f = o.Filter
			}
		}
		if f == nil {
			continue
		}
		if o := f.Request(x); o != exchange.OK {
			return o
		}
	}
	return exchange.OK
}

// act does what the route says.
func (m *mesh) act(p *proxy, vhost *route.VirtualHost, r *route.Route, target *route.Target, c *exchange.Connection, x *exchange.Exchange, tr traffic, share float64, j *journey) {
	switch {
	case vhost != nil && vhost.RequireTLS && c.Security == nil:
		j.say("301")
		j.say("location=https://%s%s", tr.authority, tr.path)
		return
	case r == nil && vhost == nil && p.misdirected(c, tr.authority):
		j.say("421")
		return
	case r == nil:
		j.say("404")
		j.say("NR")
		return
	case r.Redirect != nil:
		status := r.Location(x)
		j.say("%d", status)
		j.say("location=%s", x.Response.Get("location"))
		return
	case r.Direct != nil:
		j.say("%d", r.Direct.Status)
		if len(r.Direct.Body) > 0 {
			j.say("body=%s", r.Direct.Body)
		}
		return
	}
	if c.Via == nil || c.Via.Direction != exchange.Inbound {
		j.policy(r)
	} else {
		j.inbound(r)
	}
	r.Outgoing(target, x)
	next := tr
	next.key, next.pin = upstream.Key{Name: tr.authority}, x.Pin
	if cluster := p.config.Clusters[target.Cluster]; cluster != nil && cluster.Hashing.Size > 0 {
		next.key.Hash, next.key.Given, _ = r.Hash(x)
		r.Mint(x)
	}
	r.Incoming(target, x)
	next.method, next.authority, next.path = x.Request.Method.Copy(), x.Request.Authority.Copy(), x.Request.Path.Copy()
	next.headers = nil
	for _, f := range x.Request.Fields {
		next.headers = append(next.headers, [2]string{f.Name.Copy(), f.Value.Copy()})
	}
	for _, f := range x.Response.Fields {
		j.say("<%s:%s", f.Name, f.Value)
		if name, _, _ := strings.Cut(string(f.Value), "="); f.Name.Is("set-cookie") {
			j.say("mints=%s", name)
		}
	}
	protocol := tr.protocol
	if cluster := p.config.Clusters[target.Cluster]; cluster != nil {
		switch cluster.Protocol {
		case upstream.UseHTTP1:
			protocol = exchange.HTTP1
		case upstream.UseHTTP2:
			protocol = exchange.HTTP2
		}
	}
	next.protocol = protocol
	m.forward(p, target.Cluster, c, next, share, j)
}

// forward sends to every endpoint of a cluster that may be used.
func (m *mesh) forward(p *proxy, name string, c *exchange.Connection, tr traffic, share float64, j *journey) {
	cluster, ends := p.reach(name, c.Onward(), tr.key.Name)
	if cluster != nil {
		j.cluster(cluster)
	}
	switch {
	case name == wire.ClusterBlackHole:
		j.say("closed")
		return
	case cluster == nil:
		j.say("503")
		j.say("NC")
		return
	case len(ends) == 0:
		j.say("503")
		j.say("UH")
		return
	case strings.HasPrefix(name, "inbound|") || name == wire.ClusterInboundPassthrough:
		if ends[0].Path != "" {
			j.say("socket=%s", ends[0].Path)
			m.delivered(p.pod, c.Destination.Port(), c.Security, tr, share, j)
			return
		}
		j.say("address=%s", ends[0].Address.Addr())
		if l := p.called(ends[0].Address); l != nil { // the proxy's own: it comes back
			c := &exchange.Connection{Source: c.Source, Local: ends[0].Address, Destination: ends[0].Address, Called: true}
			describe(c, tr)
			m.serve(p, l, c, tr, share, j)
			return
		}
		m.delivered(p.pod, ends[0].Address.Port(), c.Security, tr, share, j)
		return
	}
	if tr.http {
		j.say("wire=%s", tr.protocol)
	}
	if tr.pin.On {
		j.say("stays")
		if e := p.pinned(cluster, tr.pin.Address); e != nil {
			ends = []*exchange.Endpoint{e}
		}
	}
	source := netip.AddrPortFrom(netip.MustParseAddr(p.pod.ip), 40000)
	shares := balance(cluster, ends, tr.key)
	for _, e := range ends {
		shake, part := socket(cluster, e), share*shares[e]
		if part == 0 {
			continue
		}
		switch {
		case e.Path != "":
			j.say("socket=%s", e.Path)
			j.say("200")
			j.final(tr)
		case e.Host != "" && !e.Address.Addr().IsValid():
			m.outside(fmt.Sprintf("%s:%d", e.Host, e.Address.Port()), shake, e, tr, j)
		case cluster.Discovery == upstream.OriginalDst && shake == nil:
			m.route(c, e.Address, tr, part, j)
		default:
			m.arrive(source, e.Address, shake, e, tr, part, j)
		}
	}
}

// about reports whether a share is what was wanted.
func about(got, percent float64) bool { return math.Abs(got*100-percent) < 1.5 }
