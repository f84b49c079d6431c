package generate

import (
	"fmt"
	"slices"
	"sort"

	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Edge is what a gateway's listeners depend on.
type Edge struct {
	Mesh      *model.Mesh
	Class     naming.Class
	Self      listeners.Self
	Reports   *observe.Reports
	Topology  model.Topology
	Namespace string
	Servers   *intern.List[BoundServer]
	Policies  *intern.List[*model.Authorization]
}

// BoundServer is a server of a Gateway that selects the workload, on the port where the workload listens.
type BoundServer struct {
	Gateway *model.Gateway
	Server  *model.Server
	Port    uint16
}

// servers are the servers of the Gateways that select a workload. Their ports are Service ports: the workload listens on the target
// ports of the Services that select it, or on the very port where none declares it.
func (ix *Index) servers(w *model.Workload) []BoundServer {
	var out []BoundServer
	for _, g := range ix.snapshot.Gateways {
		if !g.Selector.Matches(w.Labels) {
			continue
		}
		for _, s := range g.Servers {
			for _, port := range ix.listensOn(w, s.Port) {
				out = append(out, BoundServer{g, s, port})
			}
		}
	}
	return out
}

func (ix *Index) listensOn(w *model.Workload, port uint16) []uint16 {
	var out []uint16
	for _, svc := range ix.selecting[w.Name.Namespace] {
		p := svc.Port(port)
		if p == nil || !svc.Selects(w) {
			continue
		}
		target := targetPort(p, w)
		known := target == 0
		for _, t := range out {
			known = known || t == target
		}
		if !known {
			out = append(out, target)
		}
	}
	if len(out) == 0 {
		return []uint16{port}
	}
	return out
}

// edgeBuilder makes one gateway workload's listeners and routes.
type edgeBuilder struct {
	*builder
	edge  Edge
	ports map[edgePort]*edgePlan
}

type edgePort struct {
	bind string
	port uint16
}

// GenerateEdge returns the listeners and routes of a gateway.
func GenerateEdge(ix *Index, o Outbound, e Edge, m *Memo) *Set {
	b := &edgeBuilder{builder: newBuilder(ix, o, m), edge: e, ports: map[edgePort]*edgePlan{}}
	b.virtuals = ix.edgeVirtuals(o.Namespace)
	for s := range e.Servers.All {
		b.place(s)
	}
	for at, plan := range b.ports {
		for _, s := range plan.servers {
			b.chainsOf(plan, s)
		}
		for _, s := range plan.https {
			b.routesOf(s.routes, []BoundServer{s.BoundServer}, plan, &s)
		}
		if plan.family == model.ServeHTTP {
			b.plain(at, plan)
		}
		if len(plan.chains) == 0 {
			continue
		}
		in := listeners.Gateway{Mesh: e.Mesh, Class: e.Class, Self: e.Self, Reports: e.Reports, Topology: e.Topology, Bind: at.bind, Port: at.port, Policies: e.Policies, Names: e.Class.Foreign && ix.named}
		in.Chains = m.edgeChains.Of(plan.chains)
		b.set.add(m.edges.Get(in, listeners.MakeGateway))
	}
	return b.set.finish()
}

// place finds a server its listener; one whose family differs from the first server's is left out.
func (b *edgeBuilder) place(s BoundServer) {
	at, kind := edgePort{s.Server.Bind, s.Port}, s.Server.Kind()
	plan := b.ports[at]
	if plan == nil {
		plan = &edgePlan{family: kind.Family(), claimed: map[string]int{}}
		b.ports[at] = plan
	}
	if plan.family != kind.Family() || plan.family == model.ServeTCP && len(plan.servers) > 0 {
		b.set.Conflicts = append(b.set.Conflicts, fmt.Sprintf("Gateway %s: port %d (%s) cannot share its listener with Gateway %s",
			s.Gateway.ID(), s.Server.Port, s.Server.PortName, plan.servers[0].Gateway.ID()))
		return
	}
	plan.servers = append(plan.servers, s)
}

// edgeVirtuals are the VirtualServices that gateways of a namespace may obey.
func (ix *Index) edgeVirtuals(namespace string) []*model.VirtualService {
	return ix.ranked(namespace, func(*model.VirtualService) bool { return true })
}

// attached reports whether a VirtualService has rules for a gateway.
func attached(vs *model.VirtualService, gateway string) bool {
	if slices.Contains(vs.Gateways, gateway) {
		return true
	}
	for _, r := range vs.HTTP {
		for _, m := range r.Matches {
			if slices.Contains(m.Gateways, gateway) {
				return true
			}
		}
	}
	return false
}

// shared are the hosts that both a server and a VirtualService name, the narrower of each two.
func sharedHosts(s *model.Server, vs *model.VirtualService) []string {
	var out []string
	for _, h := range s.Hosts {
		if h.Namespace != "*" && h.Namespace != vs.From.Namespace {
			continue
		}
		for _, host := range vs.Hosts {
			if vs.Entire && !naming.Covers(h.Host, host) {
				continue
			}
			if both, ok := naming.Narrower(h.Host, host); ok && !slices.Contains(out, both) {
				out = append(out, both)
			}
		}
	}
	return out
}

// edgeHost is a virtual host in the making: VirtualServices in the order in which their rules go, and the Gateway of each by which they came. One that has
// rules for several Gateways comes once for each, as in Istio.
type edgeHost struct {
	virtuals []*model.VirtualService
	gateways []string
	port     uint16
	redirect bool
}

// has reports whether a VirtualService came by a Gateway.
func (h *edgeHost) has(vs *model.VirtualService, gateway string) bool {
	for i, v := range h.virtuals {
		if v == vs && h.gateways[i] == gateway {
			return true
		}
	}
	return false
}

// hostsOf collects the virtual hosts of servers that share routes. A redirect to HTTPS is for the hosts that a server names itself, and for those of
// its own Gateway's VirtualServices.
func (b *edgeBuilder) hostsOf(servers []BoundServer) map[string]*edgeHost {
	out := map[string]*edgeHost{}
	at := func(host string, port uint16) *edgeHost {
		if out[host] == nil {
			out[host] = &edgeHost{port: port}
		}
		return out[host]
	}
	for _, s := range servers {
		for _, vs := range b.virtuals {
			if len(vs.HTTP) == 0 || !attached(vs, s.Gateway.ID()) {
				continue
			}
			for _, host := range sharedHosts(s.Server, vs) {
				h := at(host, s.Server.Port)
				h.redirect = h.redirect || s.Server.HTTPSRedirect
				if !h.has(vs, s.Gateway.ID()) && b.obeys(vs, s.Gateway.ID(), h.port) {
					h.virtuals, h.gateways = append(h.virtuals, vs), append(h.gateways, s.Gateway.ID())
				}
			}
		}
		if s.Server.HTTPSRedirect {
			for _, h := range s.Server.Hosts {
				at(h.Host, s.Server.Port).redirect = true
			}
		}
	}
	return out
}

// obeys reports whether a VirtualService has a rule for what comes by a Gateway, on a port of its servers.
func (b *edgeBuilder) obeys(vs *model.VirtualService, gateway string, port uint16) bool {
	return routes.Host{Port: port, Gateways: b.m.strings.Of([]string{gateway}), Client: b.scope.client()}.Obeys(vs)
}

// routesOf makes a route configuration for servers: for one that ends TLS by itself, or for plaintext ones where tls is nil.
func (b *edgeBuilder) routesOf(name string, servers []BoundServer, plan *edgePlan, tls *httpsServer) {
	hosts := b.hostsOf(servers)
	var made []*routes.VirtualHost
	if others := plan.others(tls); len(others) > 0 {
		made = append(made, b.m.misdirected.Get(b.m.strings.Of(others), routes.Misdirected))
	}
	order := make([]string, 0, len(hosts))
	for host := range hosts {
		if plan.owns(tls, host) {
			order = append(order, host)
		}
	}
	sort.Strings(order)
	served := false
	for _, host := range order {
		h := hosts[host]
		in := routes.Host{
			Mesh: b.edge.Mesh, Class: b.edge.Class, Host: host, Port: h.port, TLS: tls != nil, RequireTLS: h.redirect,
			Virtuals: b.m.virtuals.Of(h.virtuals), Gateways: b.m.strings.Of(h.gateways), Targets: b.targets(h.virtuals, h.port),
		}
		if slices.ContainsFunc(h.virtuals, routes.Conditional) {
			in.Client = b.scope.client()
		}
		if host := b.m.hosts.Get(in, routes.NewVirtualHost); host.Answers() {
			made, served = append(made, host), true
		}
	}
	c := routes.Configuration{Name: name, Hosts: b.m.vhosts.Of(made)}
	if !served {
		c.EdgePort = servers[0].Server.Port
	}
	b.set.add(b.m.routes.Get(c, routes.Make))
}

// plain makes the one chain of a plaintext HTTP port.
func (b *edgeBuilder) plain(at edgePort, plan *edgePlan) {
	name := "http." + naming.Port(at.port)
	if at.bind != "" {
		name += "." + at.bind
	}
	b.routesOf(name, plan.servers, nil, nil)
	web := slices.ContainsFunc(plan.servers, func(s BoundServer) bool { return s.Server.Protocol == model.GRPCWeb })
	plan.chains = append(plan.chains, listeners.GatewayChain{Routes: name, Web: web})
}

// chainsOf adds the chains of a server that does not share routes.
func (b *edgeBuilder) chainsOf(plan *edgePlan, s BoundServer) {
	switch s.Server.Kind() {
	case model.ServeHTTPS:
		sni, ok := plan.claim(hostNames(s.Server))
		if !ok {
			b.duplicate(s)
			return
		}
		name := fmt.Sprintf("https.%d.%s.%s.%s", s.Server.Port, s.Server.PortName, s.Gateway.From.Name, s.Gateway.From.Namespace)
		if s.Server.Bind != "" {
			name += "." + s.Server.Bind
		}
		plan.https = append(plan.https, httpsServer{s, name, len(plan.chains), sni})
		b.set.secretsOf(s.Server.TLS)
		plan.chains = append(plan.chains, listeners.GatewayChain{Name: name, Names: b.m.strings.Of(sni), TLS: s.Server.TLS, Routes: name})
	case model.ServePassthrough:
		b.passthrough(plan, s)
	case model.ServeTLS, model.ServeTCP:
		b.opaqueServer(plan, s)
	case model.ServeNamed:
		b.named(plan, s)
	}
}

func (b *edgeBuilder) duplicate(s BoundServer) {
	b.set.Conflicts = append(b.set.Conflicts, fmt.Sprintf("Gateway %s: server %s of port %d names only hosts that an older server of the port has",
		s.Gateway.ID(), s.Server.PortName, s.Server.Port))
}

// hostNames are the distinct hosts of a server.
func hostNames(s *model.Server) []string {
	var out []string
	for _, h := range s.Hosts {
		if !slices.Contains(out, h.Host) {
			out = append(out, h.Host)
		}
	}
	return out
}

// passthrough adds a chain for each SNI rule of the VirtualServices that the server admits.
func (b *edgeBuilder) passthrough(plan *edgePlan, s BoundServer) {
	for _, vs := range b.virtuals {
		for _, r := range vs.TLS {
			for _, m := range r.Matches {
				if !b.admits(vs, m, s) {
					continue
				}
				own := within(m.SNI, sharedHosts(s.Server, vs))
				if len(own) == 0 {
					continue // a rule for hosts of another server
				}
				sni, ok := plan.claim(own)
				if targets, relay := b.shares(r.Destinations, s.Server.Port); ok && targets != nil {
					plan.chains = append(plan.chains, listeners.GatewayChain{Names: b.m.strings.Of(sni), Targets: targets, Relay: relay, Sniff: true})
				}
			}
		}
	}
}

// within keeps what is covered by one of the hosts, or else narrows it to them.
func within(sni, hosts []string) []string {
	var out []string
	for _, name := range sni {
		for _, host := range hosts {
			if both, ok := naming.Narrower(host, name); ok && !slices.Contains(out, both) {
				out = append(out, both)
			}
		}
	}
	return out
}

// admits reports whether a match of a VirtualService is for this server.
func (b *edgeBuilder) admits(vs *model.VirtualService, m *model.L4Match, s BoundServer) bool {
	gateways := vs.Gateways
	if m.Gateways != nil {
		gateways = m.Gateways
	}
	return slices.Contains(gateways, s.Gateway.ID()) && (m.Port == 0 || m.Port == s.Server.Port) && len(sharedHosts(s.Server, vs)) > 0
}

// opaqueServer adds the chain of a TCP server, or of one that terminates TLS around bytes: the first tcp rule for it.
func (b *edgeBuilder) opaqueServer(plan *edgePlan, s BoundServer) {
	for _, vs := range b.virtuals {
		for _, r := range vs.TCP {
			matches := r.Matches
			if len(matches) == 0 {
				matches = []*model.L4Match{{}}
			}
			for _, m := range matches {
				if !b.admits(vs, m, s) {
					continue
				}
				targets, relay := b.shares(r.Destinations, s.Server.Port)
				if targets == nil {
					continue
				}
				c := listeners.GatewayChain{Targets: targets, Relay: relay}
				if s.Server.TLS != nil {
					sni, ok := plan.claim(hostNames(s.Server))
					if !ok {
						b.duplicate(s)
						return
					}
					c.Names, c.TLS = b.m.strings.Of(sni), s.Server.TLS
					b.set.secretsOf(s.Server.TLS)
				}
				plan.chains = append(plan.chains, c)
				return
			}
		}
	}
}
