package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
)

// outsider is the address of who comes from outside (RFC 5737, so nobody's); clientPort is any client's.
const (
	outsider   = "203.0.113.9"
	clientPort = 40000
	mostHops   = 8 // then it goes round in circles
)

// walk follows a request through a mesh.
type walk struct {
	mesh *replica.Mesh
	ends []ending
	deep int
	err  error // of the replica itself
}

// ending is how a share of the requests ends.
type ending struct {
	Verdict
	share float64
}

// Explain follows a request of a client. A gateway's clients are outside: the request comes to the gateway's own port.
func Explain(m *replica.Mesh, client *replica.Pod, r *Request) (*Explanation, error) {
	w := &walk{mesh: m}
	e := &Explanation{Request: r.String(), Client: client.String()}
	switch ip, what, found := lookup(m, r.Host, client.Name.Namespace); {
	case client.Role == replica.Gateway && len(client.IPs) > 0:
		port := behind(m, client, r.Port)
		e.Lookup = fmt.Sprintf("a client outside (%s) reaches the gateway on port %d", outsider, r.Port)
		e.Hop = w.arrive(arrival{source: address(outsider), to: netip.AddrPortFrom(netip.MustParseAddr(client.IPs[0]), port)}, *r, 1)
	case !found:
		e.Lookup, e.Verdict = what, Verdict{Fails: 1, Reason: "the client finds no address to connect to", Advice: "correct the name, or create what should have it"}
		return e, nil
	default:
		e.Lookup = what
		e.Hop = w.leave(client, netip.AddrPortFrom(ip, r.Port), *r)
	}
	e.Verdict = w.verdict()
	return e, w.err
}

func address(ip string) netip.AddrPort {
	a, err := netip.ParseAddr(ip)
	if err != nil { // a pod without an address
		a = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(a, clientPort)
}

// verdict sums up: the largest share that fails says why.
func (w *walk) verdict() Verdict {
	out := Verdict{Succeeds: true, Reason: "it reaches what answers it"}
	worst := 0.0
	for _, e := range w.ends {
		switch {
		case e.Succeeds && out.Succeeds && worst == 0:
			out.Reason, out.Status, out.Where = e.Reason, e.Status, e.Where
		case !e.Succeeds:
			fails := out.Fails + e.share
			if e.share > worst {
				worst, out = e.share, e.Verdict
			}
			out.Fails = fails
		}
	}
	out.Fails = min(out.Fails, 1)
	return out
}

// end notes how a share of the requests ends at a hop.
func (w *walk) end(h *Hop, share float64, v Verdict) {
	if v.Where == "" {
		v.Where = h.Pod
	}
	h.End = &v
	w.ends = append(w.ends, ending{v, share})
}

// leave is a client that opens a connection.
func (w *walk) leave(client *replica.Pod, to netip.AddrPort, r Request) *Hop {
	source := address("")
	if len(client.IPs) > 0 {
		source = address(client.IPs[0])
	}
	h := &Hop{Pod: client.String(), Side: "client", Share: 1, Address: to.String()}
	if client.Role == replica.NoProxy {
		h.Notes = append(h.Notes, "the client has no proxy: its connection goes to the cluster's network as it is")
		w.network(h, source, to, r, 1)
		return h
	}
	p, err := w.mesh.Proxy(client)
	if err != nil {
		w.err = err
		return h
	}
	if r.tls { // what is inside is for the server only
		r.http = false
		h.Notes = append(h.Notes, "the client speaks TLS by itself: the proxy sees the server's name (SNI) and nothing of the request")
	}
	w.unseen(h, p, to)
	c := &exchange.Connection{Source: source, Local: to, Destination: to}
	describe(c, &r)
	l := p.Captured(to)
	if c.Called = p.Called(l, to); c.Called {
		h.Notes = append(h.Notes, "the client's Sidecar has its proxy listen at that address itself")
	}
	w.serve(h, p, l, c, r)
	return h
}

// unseen notes that a proxy is not told of the service that has an address.
func (w *walk) unseen(h *Hop, p *replica.Proxy, to netip.AddrPort) {
	for _, svc := range w.mesh.Snapshot.Services {
		if !slices.Contains(svc.Addresses, to.Addr().String()) || w.mesh.Index.Dials(p.Scope.Outbound, svc.Host, w.mesh.Memo) {
			continue
		}
		why := "it is not exported to the client's namespace (exportTo)"
		if s := p.Scope.Outbound.Sidecar; s != nil && svc.Export.To(p.Scope.Outbound.Namespace) {
			why = fmt.Sprintf("Sidecar %s does not import it", s.From)
		}
		note(h, fmt.Sprintf("the client's proxy does not know %s: %s", svc.Host, why))
	}
}

// describe fills in what first bytes tell.
func describe(c *exchange.Connection, r *Request) {
	c.Transport = "raw_buffer"
	switch {
	case r.tls:
		c.Transport, c.SNI, c.Offered = "tls", r.sni, []string{"h2", "http/1.1"}
	case r.http && r.protocol == exchange.HTTP2:
		c.Offered = []string{"h2c"}
	case r.http:
		c.Offered = []string{"http/1.1"}
	}
}

// network is what the cluster does with a connection that no proxy looks at: a Service's address leads to one of its endpoints.
func (w *walk) network(h *Hop, source, to netip.AddrPort, r Request, share float64) {
	for _, svc := range w.mesh.Snapshot.Services {
		if svc.Entry || !slices.Contains(svc.Addresses, to.Addr().String()) {
			continue
		}
		ends := w.behind(svc.Host, svc.Namespace, to.Port())
		if len(ends) == 0 {
			w.end(h, share, Verdict{Reason: fmt.Sprintf("Service %s has no ready endpoint on port %d: the connection is refused", svc.From, to.Port()),
				Advice: "see which pods its selector chooses, and whether they are ready"})
			return
		}
		t := &Target{Cluster: "the cluster's network", Share: 1, Service: replica.Object("Service", svc.From)}
		h.Targets = append(h.Targets, t)
		var all []arrival
		for _, e := range ends {
			all = append(all, arrival{source: source, to: e})
		}
		w.fan(t, all, r, share, nil)
		return
	}
	t := &Target{Cluster: "the cluster's network", Share: 1}
	h.Targets = append(h.Targets, t)
	t.Hops = append(t.Hops, w.arrive(arrival{source: source, to: to}, r, share))
}

// behind are the addresses of a Service's port.
func (w *walk) behind(host, namespace string, port uint16) []netip.AddrPort {
	var out []netip.AddrPort
	for key, set := range w.mesh.Endpoints.Sets {
		if key.Host != host || key.Namespace != namespace || key.Port != port {
			continue
		}
		for _, e := range set.Endpoints {
			if a, err := netip.ParseAddr(e.Address); err == nil && e.Health == model.Healthy {
				out = append(out, netip.AddrPortFrom(a, e.Port))
			}
		}
	}
	return out
}

// arrival is a connection that comes to an address.
type arrival struct {
	source, to netip.AddrPort
	secure     *secured // nil: as the client speaks
	endpoint   *exchange.Endpoint
}

// arrive brings a connection to an address: a pod with or without proxy, or the world outside.
func (w *walk) arrive(a arrival, r Request, share float64) *Hop {
	h := &Hop{Share: share, Side: "application", Address: a.to.String()}
	pod := w.mesh.At(a.to.Addr().Unmap().String())
	if w.deep++; w.deep > mostHops {
		w.end(h, share, Verdict{Reason: "it goes from proxy to proxy in circles", Flag: exchange.LoopDetected.Flag().String(), Status: exchange.LoopDetected.Status()})
		return h
	}
	defer func() { w.deep-- }()
	switch {
	case pod == nil:
		w.outside(h, a, r, share)
		return h
	case pod.Role == replica.NoProxy && a.secure != nil:
		h.Pod = pod.String()
		w.end(h, share, failed(exchange.ConnectFailure, "the client's proxy begins TLS, and the pod has no proxy that would end it",
			"inject a proxy into the pod, or set tls.mode DISABLE in the DestinationRule"))
		return h
	case pod.Role == replica.NoProxy:
		h.Pod = pod.String()
		w.delivered(h, r, a.to, share, "in plaintext: the pod has no proxy")
		return h
	}
	h.Pod, h.Side = pod.String(), "server"
	if pod.Role == replica.Gateway {
		h.Side = "gateway"
	}
	p, err := w.mesh.Proxy(pod)
	if err != nil {
		w.err = err
		return h
	}
	w.enter(h, p, a, r)
	return h
}

// enter brings a connection to a pod's proxy.
func (w *walk) enter(h *Hop, p *replica.Proxy, a arrival, r Request) {
	l := p.Entered(a.to.Port())
	if p.Pod.Role != replica.Gateway {
		mode, by := w.mesh.Index.Demands(p.Pod.Workload, a.to.Port())
		h.Demands = &Demand{Port: a.to.Port(), Mode: modeText(mode), By: "the default: no PeerAuthentication says anything"}
		if by != nil {
			h.Demands.By = replica.Object("PeerAuthentication", by.From)
		}
	}
	if l == nil {
		w.end(h, h.Share, Verdict{Reason: fmt.Sprintf("the gateway does not listen on port %d: the connection is refused", a.to.Port()),
			Advice: "give a Gateway whose selector chooses these pods a server with that port, and the gateway's Service the port"})
		return
	}
	c := &exchange.Connection{Source: a.source, Local: a.to, Destination: a.to}
	describe(c, &r)
	if a.secure == nil {
		w.serve(h, p, l, c, r)
		return
	}
	met := replica.Meet(l, c, a.secure.client(a.endpoint, &r))
	if met.Err != nil {
		if chain := w.passed(h, l, c); chain != nil && chain.TCP != nil && chain.TLS == nil && p.Pod.Role == replica.Gateway {
			w.end(h, h.Share, Verdict{Succeeds: true, Reason: "the gateway passes TLS between the proxies on unopened, to the service that the server name says; it is not followed from there"})
			return
		}
		w.end(h, h.Share, failed(exchange.ConnectFailure, "the TLS handshake between the proxies fails: "+met.Err.Error(),
			"compare the DestinationRule's tls with what the server's PeerAuthentication or Gateway expects"))
		return
	}
	c.Security = met.Security
	w.serve(h, p, l, c, r)
}

// outside notes that a connection leaves for the world.
func (w *walk) outside(h *Hop, a arrival, r Request, share float64) {
	h.Side = "outside"
	if a.endpoint != nil && a.endpoint.Host != "" {
		h.Address = fmt.Sprintf("%s:%d", a.endpoint.Host, a.to.Port())
	}
	if a.endpoint != nil && a.endpoint.Path != "" {
		h.Address = a.endpoint.Path
	}
	how := "as the client speaks"
	if a.secure != nil {
		sni, err := replica.Offer(a.secure.client(a.endpoint, &r))
		if err != nil {
			w.end(h, share, failed(exchange.ConnectFailure, "the proxy does not begin TLS with "+h.Address+": "+err.Error(),
				"give the endpoint the service account that is there, or a DestinationRule whose tls says how the server is secured"))
			return
		}
		how = fmt.Sprintf("with TLS that the proxy begins, SNI %q", sni)
	}
	w.end(h, share, Verdict{Succeeds: true, Where: h.Address, Reason: fmt.Sprintf("it leaves the mesh for %s, %s; whether somebody answers there is not known here", h.Address, how)})
}

// delivered notes that a request reaches an application.
func (w *walk) delivered(h *Hop, r Request, to netip.AddrPort, share float64, how string) {
	what := "the connection"
	if r.http {
		what = "the request"
	}
	w.end(h, share, Verdict{Succeeds: true, Reason: fmt.Sprintf("%s reaches the application of %s on port %d, %s", what, h.Pod, to.Port(), how)})
}

// failed is a verdict by the table of outcomes.
func failed(o exchange.Outcome, reason, advice string) Verdict {
	v := Verdict{Status: o.Status(), Reason: reason, Advice: advice}
	if o.Flag() != 0 {
		v.Flag = o.Flag().String()
	}
	if o == exchange.Denied {
		v.Flag = "RBAC"
	}
	return v
}

// serve takes a connection through a listener of a proxy.
func (w *walk) serve(h *Hop, p *replica.Proxy, l *config.Listener, c *exchange.Connection, r Request) {
	if l == nil {
		w.end(h, h.Share, failed(exchange.BlackHole, "the proxy has no listener that takes it", ""))
		return
	}
	c.Via = l.Via
	chain := w.passed(h, l, c)
	if chain == nil {
		w.end(h, h.Share, w.unchained(h, c))
		return
	}
	if chain.TLS != nil && c.Security == nil && r.tls { // the client's own TLS ends here
		met := replica.Meet(l, c, replica.Foreign(r.sni))
		if met.Err != nil {
			w.end(h, h.Share, failed(exchange.HandshakeFailed, "the TLS handshake fails: "+met.Err.Error(), "a server that demands a client's certificate gets none here"))
			return
		}
		c.Security, r.tls = met.Security, false
		h.Notes = append(h.Notes, fmt.Sprintf("the client's TLS ends here, SNI %q", r.sni))
	}
	if peer := c.Peer(); peer != nil {
		h.Identity = peer.URI
	}
	for _, f := range chain.Network {
		if guard, ok := f.(*rbac.Filter); ok && !w.judged(h, guard, c, nil) {
			return
		}
	}
	if chain.TCP != nil {
		w.relay(h, p, chain.TCP, c, r)
		return
	}
	w.request(h, p, chain, c, r)
}

// passed tells of a listener's filter chains, and returns the one that takes the connection.
func (w *walk) passed(h *Hop, l *config.Listener, c *exchange.Connection) *config.FilterChain {
	chain, passed := l.Explain(c)
	h.Listener = l.Name
	out := &Chain{}
	if chain != nil {
		out.Name, out.Of, out.Rule = chainName(chain), chainWords(chain), ruleName(chain.Origin)
	}
	for _, p := range passed {
		if p.Of == "destination port" && (!p.Fits || p.Chain.Match.Port == 0) {
			continue // another port's, or that of all other ports
		}
		out.Passed = append(out.Passed, Not{chainWords(p.Chain), passedWords(p, c)})
	}
	h.Chain = out
	return chain
}

// unchained says why no filter chain takes a connection.
func (w *walk) unchained(h *Hop, c *exchange.Connection) Verdict {
	v := failed(exchange.BlackHole, "no filter chain takes it: the connection is closed", "")
	v.Status = 0
	switch {
	case h.Demands != nil && h.Demands.Mode == "STRICT" && c.Security == nil && c.Transport == "raw_buffer":
		v.Reason = fmt.Sprintf("port %d accepts mesh mutual TLS only (STRICT, by %s), and the client speaks plaintext: the connection is closed", h.Demands.Port, h.Demands.By)
		v.Advice = "give the client a proxy (and no DestinationRule with tls.mode DISABLE), or make the port PERMISSIVE"
	case h.Demands != nil && c.Transport == "tls":
		v.Reason = fmt.Sprintf("port %d does not take this TLS: it is not the mesh's, and the port carries HTTP", h.Demands.Port)
		v.Advice = "speak plaintext HTTP, or declare the port's protocol as https or tls"
	case h.Side == "gateway" && c.Transport == "tls":
		v.Reason = fmt.Sprintf("no server of the gateway's port has a host %q: the connection is closed", c.SNI)
		v.Advice = "add the host to a server of a Gateway"
	}
	return v
}

// judged asks policies; false: they refuse, and it ends here.
func (w *walk) judged(h *Hop, f *rbac.Filter, c *exchange.Connection, x *exchange.Exchange) bool {
	j := judgement(f, c, x)
	h.Policies = append(h.Policies, j)
	if j.Allowed {
		return true
	}
	v := failed(exchange.Denied, fmt.Sprintf("%s denies it", j.By), "change that rule, or what the client asks for")
	if j.By == "" {
		var consulted []string
		for _, p := range j.Asked {
			consulted = append(consulted, p.Rule)
		}
		v.Reason = "no ALLOW rule matches; consulted: " + strings.Join(consulted, ", ")
		v.Advice = "let a rule of an AuthorizationPolicy match this client and request"
		if c.Peer() == nil {
			v.Advice += "; the client has no identity here, since it speaks plaintext"
		}
	}
	if x == nil {
		v.Status = 0
		v.Reason += ": the connection is closed"
	}
	w.end(h, h.Share, v)
	return false
}

// inboundTo reports whether a cluster is the pod's own application.
func inboundTo(cluster string) bool { return replica.IsInbound(cluster) }

// isBlackHole reports whether a cluster refuses everything.
func isBlackHole(cluster string) bool { return cluster == wire.ClusterBlackHole }
