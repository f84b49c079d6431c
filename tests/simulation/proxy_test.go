package simulation

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	said "github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// proxy is one pod's data plane: what pilot told it, compiled.
type proxy struct {
	mesh   *mesh
	pod    *pod
	config *config.Config
	demand *demand // nil: it is told everything
}

// newProxy generates and compiles a pod's configuration. Whatever pilot generates, the proxy must honour.
func newProxy(m *mesh, p *pod) *proxy {
	w := m.workloads.ByName[model.Name{Namespace: p.namespace, Name: p.name}]
	if w == nil {
		m.t.Fatalf("pod %s was not translated", p.name)
	}
	scope := generate.ScopeOf(m.index, w, naming.Class{Router: p.gateway, IPv4: true, IPv6: p.v6 != "", Names: p.names, Allocated: p.names,
		OnDemand: m.onDemand && !p.gateway}, m.memo)
	outer := generate.GenerateOutbound(m.index, scope.Outbound, m.memo)
	var own *generate.Set
	if p.gateway {
		own = generate.GenerateEdge(m.index, scope.Outbound, scope.Edge, m.memo)
	} else {
		own = generate.GenerateInbound(scope.Inbound, m.memo)
	}
	c := compile.New(compile.Options{
		Gateway: p.gateway, Workload: m.pki.holder(p.certified()), Mesh: m.pki, Secrets: mtls.NewSecrets(),
		OnDemand: scope.Outbound.OnDemand,
	})
	if scope.Outbound.OnDemand {
		return newDemand(m, p, c, scope, outer, own)
	}
	apply := func(typ string, resources []*wire.Resource) {
		var list []wire.Resource
		for _, r := range resources {
			list = append(list, *r)
		}
		for name, err := range c.Apply(typ, list, nil) {
			m.t.Errorf("proxy %s refuses %s: %v", p.name, name, err)
		}
	}
	var assignments []*wire.Resource
	for name, view := range outer.Reach.Views() {
		assignments = append(assignments, generate.Endpoints(name, m.endpoints.Sets[view.Key], view.From(scope.From), m.memo))
	}
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute, wire.TypeNames} {
		apply(typ, outer.All(typ))
		apply(typ, own.All(typ))
	}
	apply(wire.TypeEndpoints, assignments)
	apply(wire.TypeSecret, m.secrets(outer, own))
	return &proxy{mesh: m, pod: p, config: c.Config()}
}

// secrets are those that the resources of sets refer to.
func (m *mesh) secrets(sets ...*generate.Set) []*wire.Resource {
	var out []*wire.Resource
	for _, set := range sets {
		for _, name := range set.Secrets {
			certificate, key := m.pki.server(name)
			out = append(out, said.CertificateSecret(wire.SecretPrefix+name, model.Secret{Certificate: certificate, Key: key}),
				said.AuthoritySecret(wire.SecretPrefix+name+wire.CACertSuffix, m.pki.bundle(), nil))
		}
	}
	return out
}

// captured finds the listener for a connection that the application opened: that of the exact address, the port's, or the one that takes
// all others.
func (p *proxy) captured(to netip.AddrPort) *config.Listener {
	p.address(to)
	var wild, rest *config.Listener
	for _, l := range p.config.Listeners {
		if l.Name == wire.ListenerVirtualOutbound {
			rest = l
		}
		for _, bind := range l.Binds {
			switch {
			case !l.NoBind && (l.RestoreDst || l.Via.Direction == exchange.Inbound):
			case bind == to:
				return l
			case bind.Port() == to.Port() && bind.Addr().IsUnspecified() && bind.Addr().Is4() == to.Addr().Is4():
				wild = l
			}
		}
	}
	if wild != nil {
		return wild
	}
	return rest
}

// misdirected reports whether a host belongs to another server of a connection's port.
func (p *proxy) misdirected(c *exchange.Connection, host string) bool {
	l := p.config.Listener(c.Via.Listener)
	return l != nil && l.Misdirected(l.Choose(c), c, []byte(host))
}

// bound finds the listener that a gateway opened on a port.
func (p *proxy) bound(port uint16) *config.Listener {
	for _, l := range p.config.Listeners {
		for _, bind := range l.Binds {
			if !l.NoBind && bind.Port() == port {
				return l
			}
		}
	}
	return nil
}

// called finds the listener that a sidecar opened at an address of its pod, for clients that connect to it.
func (p *proxy) called(to netip.AddrPort) *config.Listener {
	for _, l := range p.config.Listeners {
		for _, bind := range l.Binds {
			if !l.NoBind && !l.RestoreDst && (bind == to || bind.Port() == to.Port() && bind.Addr().IsUnspecified() && bind.Addr().Is4() == to.Addr().Is4()) {
				return l
			}
		}
	}
	return nil
}

// reach is the endpoints of a cluster that may be used now; asked is the name that a request brings.
func (p *proxy) reach(cluster string, original netip.AddrPort, asked string) (*upstream.Config, []*exchange.Endpoint) {
	c := p.config.Clusters[cluster]
	if c == nil {
		return nil, nil
	}
	if c.Discovery == upstream.Named {
		name, port, ok := c.Lead(asked)
		if !ok {
			return c, nil
		}
		return c, []*exchange.Endpoint{{Host: name, Address: netip.AddrPortFrom(netip.Addr{}, port), Weight: 1}}
	}
	known := c.Endpoints
	if c.Assignment != "" && p.config.Endpoints[c.Assignment] != nil {
		known = p.config.Endpoints[c.Assignment].Endpoints
	}
	if c.Discovery == upstream.OriginalDst && original.Port() == 0 {
		return c, nil
	}
	if c.Discovery == upstream.OriginalDst {
		original = c.Dials(original)
		for _, e := range known {
			if e.Address == original {
				return c, []*exchange.Endpoint{e}
			}
		}
		return c, []*exchange.Endpoint{{Address: original, Weight: 1}}
	}
	if ordered(c, known) {
		return c, known
	}
	var healthy []*exchange.Endpoint
	for _, e := range known {
		if !e.Unhealthy && !e.Draining {
			healthy = append(healthy, e)
		}
	}
	return c, healthy
}

// pinned is the endpoint that a client wants to stay with, where it may.
func (p *proxy) pinned(c *upstream.Config, at string) *exchange.Endpoint {
	asked := *c
	live := upstream.NewRegistry(upstream.Options{}).Apply(map[string]*upstream.Config{"": &asked}, p.config.Endpoints).Get("")
	if h := live.Pinned(at); h != nil {
		return h.Endpoint()
	}
	return nil
}

// ordered reports whether endpoints are not all alike to the balancer.
func ordered(c *upstream.Config, all []*exchange.Endpoint) bool {
	return c.ByLocality || c.Hashing.Size > 0 || slices.ContainsFunc(all, func(e *exchange.Endpoint) bool { return e.Priority > 0 || e.Weight != all[0].Weight })
}

// balance is the share of each endpoint: the same, or what the proxy's own balancer makes of their order.
func balance(c *upstream.Config, all []*exchange.Endpoint, key upstream.Key) map[*exchange.Endpoint]float64 {
	out := map[*exchange.Endpoint]float64{}
	if !ordered(c, all) {
		for _, e := range all {
			out[e] = 1 / float64(len(all))
		}
		return out
	}
	asked, by := *c, map[string]*exchange.Endpoint{}
	asked.Discovery, asked.Endpoints = upstream.Static, nil
	for i, e := range all { // hosts that are looked up have no address that tells them apart
		named, name := *e, e.Address.String()
		if !e.Address.Addr().IsValid() {
			name = strconv.Itoa(i)
			named.Path = name
		}
		asked.Endpoints, by[name] = append(asked.Endpoints, &named), e
	}
	live := upstream.NewRegistry(upstream.Options{}).Apply(map[string]*upstream.Config{"": &asked}, nil).Get("")
	const samples = 20_000
	for range samples {
		h, o := live.PickFor(key, netip.AddrPort{}, nil, 1)
		if o != exchange.OK {
			continue
		}
		name := h.Endpoint().Path
		if name == "" {
			name = h.Endpoint().Address.String()
		}
		out[by[name]] += 1.0 / samples
	}
	return out
}

// security is how a connection to an endpoint is secured.
type security struct {
	upstream.Handshaker
	cluster *upstream.Config
}

// socket is how a cluster secures a connection to an endpoint; nil: not at all.
func socket(c *upstream.Config, e *exchange.Endpoint) *security {
	for _, s := range c.Sockets {
		matches := true
		for k, v := range s.Match {
			matches = matches && (e.Metadata[k] == v || k == "tlsMode" && e.TLSMode == v)
		}
		if matches && s.TLS != nil {
			return &security{s.TLS, c}
		}
		if matches {
			return nil
		}
	}
	return nil
}
