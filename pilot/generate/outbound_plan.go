package generate

import (
	"slices"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/claims"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// outboundPlan collects what each outbound listener serves before it is made.
type outboundPlan struct {
	*builder
	shared map[uint16]*sharedPort // wildcard listeners, by port
	bound  map[string]*boundPort  // listeners of one address, by "address_port"
	apart  map[uint16]*apartPort  // listeners that the Sidecar gives an address, by port
	claims *claims.Claims
	order  []string // of bound
}

// sharedPort is a wildcard listener.
type sharedPort struct {
	hosts  []*routes.VirtualHost
	chains []listeners.Chain
	rest   *intern.List[listeners.Weighted]
	relay  listeners.Relay
	open   bool // HTTP is dialled there, though its hosts are those of a listener apart
}

// boundPort is a listener of one address.
type boundPort struct {
	address string
	port    uint16
	routes  string
	sniff   bool
	chains  []listeners.Chain
	rest    *intern.List[listeners.Weighted]
	relay   listeners.Relay
}

func newOutboundPlan(b *builder) *outboundPlan {
	return &outboundPlan{builder: b, shared: map[uint16]*sharedPort{}, bound: map[string]*boundPort{}, apart: map[uint16]*apartPort{}, claims: claims.New()}
}

func (p *outboundPlan) build() {
	p.unknown()
	if p.scope.OnDemand {
		p.set.unasked, p.set.tables, p.set.leads = unasked(), map[string]*routes.OnDemand{}, map[string]leads{}
	}
	for _, s := range p.services {
		for i := range s.Ports {
			if port := p.spoken(s.Service, &s.Ports[i]); s.dials(port.Number) && s.Resolution != model.ResolveAlias {
				p.claims.Add(s.Service, port, claims.SpeaksFirst(port.Protocol) && p.anywhere(s.Service, port.Number))
			}
		}
	}
	for _, s := range p.services {
		if s.Resolution == model.ResolveAlias {
			continue // a name of another virtual host, or of one that rules give it; if its target is in no registry, as any unknown host
		}
		for i := range s.Ports {
			port := p.spoken(s.Service, &s.Ports[i])
			if port.Protocol == model.UDP || !s.has(port.Number) {
				continue
			}
			if l := s.at(port.Number); l != nil {
				p.serveApart(l, s.Service, &s.Ports[i])
			}
			if s.dials(port.Number) {
				p.serve(s.Service, port)
			}
			p.give(s.Service, port)
		}
	}
	p.ownAliases()
	p.unlisted()
	p.emit()
}

// unknown plans where connections arrive, and those to destinations that nobody declared. A foreign proxy would look for HTTP in all of them before it
// hands them on, and so keep those waiting whose servers speak first.
func (p *outboundPlan) unknown() {
	in := p.base()
	if in.AnyName && !in.Class.Foreign {
		in.Routes = wire.ListenerVirtualOutbound
		p.set.add(p.m.routes.Get(routes.Configuration{Name: in.Routes, CatchAll: in.UnknownHost(), Uncounted: p.ix.mesh.Headers.NoAttemptCount}, routes.Make))
	}
	p.set.add(listeners.MakeVirtualOutbound(in, p.scope.OnDemand))
}

// spoken is a service's port with the protocol that clients speak on it: the one that their Sidecar gives the port, where it does.
func (p *outboundPlan) spoken(svc *model.Service, port *model.ServicePort) *model.ServicePort {
	if p.scope.Sidecar == nil || p.seen[svc.Host].Aside(port.Number) {
		return port
	}
	for _, l := range p.scope.Sidecar.Egress {
		if l.Port == port.Number && !l.Apart() && l.Protocol != model.Unknown && port.Protocol != model.UDP {
			as := *port
			as.Protocol = l.Protocol
			return &as
		}
	}
	return port
}

func (p *outboundPlan) share(port uint16) *sharedPort {
	if p.shared[port] == nil {
		p.shared[port] = &sharedPort{}
	}
	return p.shared[port]
}

// serve plans one port of a service.
func (p *outboundPlan) serve(svc *model.Service, port *model.ServicePort) {
	if port.Protocol.IsHTTP() {
		if p.claims.LeftOut(port) {
			return
		}
		p.dialled(svc, port.Number)
		return
	}
	addresses, blocks := p.addresses(svc, port.Number)
	for _, a := range addresses {
		p.bind(svc, port, a)
	}
	switch {
	case !p.anywhere(svc, port.Number):
	case claims.SpeaksFirst(port.Protocol) && p.claims.LeftOut(port):
	default:
		p.wildcard(svc, port, blocks)
	}
	if port.Protocol == model.Unknown && len(svc.Addresses) == 0 && !p.claims.LeftOut(port) { // HTTP finds its host by name
		p.dialled(svc, port.Number)
	}
}

// dialled adds a service to the hosts of a port; where a listener apart has the port's routes, they are of its services alone.
func (p *outboundPlan) dialled(svc *model.Service, port uint16) {
	shared := p.share(port)
	if p.routedApart(port) {
		shared.open = true
		return
	}
	shared.hosts = append(shared.hosts, p.host(svc.Host, svc, port))
}

// addresses are what clients dial: the service's own, or its pods' where it has none; and the blocks of a ServiceEntry.
func (p *outboundPlan) addresses(svc *model.Service, port uint16) (single, blocks []string) {
	if single, blocks = p.scope.Class.Split(svc.Addresses); svc.Resolution != model.ResolveHeadless {
		return single, blocks
	}
	seen := map[string]bool{}
	if set := p.ix.set(svc, port); set != nil {
		for _, e := range set.Endpoints {
			if e.Port == port && !seen[e.Address] && p.scope.Class.Usable(e.Address) {
				seen[e.Address] = true
				single = append(single, e.Address)
			}
		}
	}
	return single, blocks
}

// anywhere reports whether a service has a part of the port's wildcard listener: with blocks, or without an address of its own. A headless one has none.
func (p *outboundPlan) anywhere(svc *model.Service, port uint16) bool {
	single, blocks := p.scope.Class.Split(svc.Addresses)
	return svc.Resolution != model.ResolveHeadless && (len(single) == 0 || len(blocks) > 0 && !p.seen[svc.Host].Aside(port))
}

// bind plans the listener of one address; the first service to claim it keeps it.
func (p *outboundPlan) bind(svc *model.Service, port *model.ServicePort, address string) {
	key := claims.Key(address, port.Number)
	if p.bound[key] != nil {
		return
	}
	l := &boundPort{address: address, port: port.Number}
	l.chains, l.rest, l.relay = p.opaque(svc, port)
	if l.rest == nil {
		l.rest, l.relay = p.own(svc, port.Number)
	}
	if svc.Resolution == model.ResolveNamed && port.Protocol.IsTLS() { // its name has to be looked at
		l.chains = append(l.chains, listeners.Chain{Names: p.m.strings.Of([]string{svc.Host}), Targets: l.rest, Relay: l.relay})
	}
	switch {
	case port.Protocol == model.Unknown:
		l.routes, l.sniff = naming.HostRoute(svc.Host, port.Number), true
		if len(svc.Addresses) == 0 {
			l.routes = naming.Port(port.Number)
		}
		p.routesOf(svc, port.Number, l.routes)
	case p.claims.HTTP(key) && !claims.SpeaksFirst(port.Protocol):
		l.routes, l.sniff = naming.Port(port.Number), true
	}
	p.bound[key] = l
	p.order = append(p.order, key)
}

// routesOf makes the routes of one host's undeclared port: who dials the service's address means the service, whatever Host says.
func (p *outboundPlan) routesOf(svc *model.Service, port uint16, name string) {
	if name == naming.Port(port) {
		return // shared with all hosts of the port
	}
	hosts := p.m.vhosts.Of([]*routes.VirtualHost{p.alone(svc, port)})
	p.set.add(p.m.routes.Get(routes.Configuration{Name: name, Hosts: hosts}, routes.Make))
}

// wildcard plans a port of a service without an address, or its blocks: it is told by these and by SNI; otherwise the first service gets all.
func (p *outboundPlan) wildcard(svc *model.Service, port *model.ServicePort, blocks []string) {
	shared, within := p.share(port.Number), p.m.strings.Of(blocks)
	chains, rest, relay := p.opaque(svc, port)
	for i := range chains {
		if chains[i].Subnets == nil {
			chains[i].Subnets = within
		}
	}
	shared.chains = append(shared.chains, chains...)
	if rest == nil && len(chains) > 0 && port.Protocol.IsTLS() {
		return // the rules say what of its TLS goes where
	}
	if rest == nil {
		rest, relay = p.own(svc, port.Number)
	}
	switch {
	case port.Protocol.IsTLS():
		shared.chains = append(shared.chains, listeners.Chain{Names: p.m.strings.Of([]string{svc.Host}), Subnets: within, Targets: rest, Relay: relay})
	case within != nil:
		shared.chains = append(shared.chains, listeners.Chain{Subnets: within, Targets: rest, Relay: relay})
	case shared.rest == nil && (port.Protocol != model.Unknown || p.claims.Rest(svc, port)):
		shared.rest, shared.relay = rest, relay
	}
}

// own is the service itself as a target.
func (p *outboundPlan) own(svc *model.Service, port uint16) (*intern.List[listeners.Weighted], listeners.Relay) {
	return p.m.weighted.Of([]listeners.Weighted{{Cluster: naming.Cluster(svc.Host, "", port), Weight: 1}}), p.relayOf(svc, "", port)
}

// opaque applies the rules of all VirtualServices for the service's host: tls to TLS, tcp to the rest. Conditions become chains; the first rule without
// one says where all others go.
func (p *outboundPlan) opaque(svc *model.Service, port *model.ServicePort) ([]listeners.Chain, *intern.List[listeners.Weighted], listeners.Relay) {
	if port.Protocol.IsTLS() {
		return p.encrypted(svc, port.Number), nil, listeners.Relay{}
	}
	var chains []listeners.Chain
	for _, vs := range p.rulesFor(svc.Host, port.Number).TCP.All(svc.Host) {
		for _, r := range vs.TCP {
			targets, relay := p.shares(r.Destinations, port.Number)
			if targets == nil {
				continue
			}
			if len(r.Matches) == 0 {
				return chains, targets, relay
			}
			for _, m := range r.Matches {
				switch {
				case !p.holds(vs, m, port.Number):
				case len(m.Subnets) == 0:
					return chains, targets, relay
				default:
					chains = append(chains, listeners.Chain{Subnets: p.m.strings.Of(m.Subnets), Targets: targets, Relay: relay})
				}
			}
		}
	}
	return chains, nil, listeners.Relay{}
}

// encrypted are the chains of the tls rules for a service's port.
func (p *outboundPlan) encrypted(svc *model.Service, port uint16) []listeners.Chain {
	var chains []listeners.Chain
	for _, vs := range p.rulesFor(svc.Host, port).TLS.All(svc.Host) {
		for _, r := range vs.TLS {
			targets, relay := p.shares(r.Destinations, port)
			for _, m := range r.Matches {
				if p.holds(vs, m, port) && targets != nil {
					chains = append(chains, listeners.Chain{Names: p.m.strings.Of(m.SNI), Subnets: p.m.strings.Of(m.Subnets), Targets: targets, Relay: relay})
				}
			}
		}
	}
	return chains
}

// holds reports whether a match can hold for this proxy and port at all.
func (p *outboundPlan) holds(vs *model.VirtualService, m *model.L4Match, port uint16) bool {
	gateways := vs.Gateways
	if m.Gateways != nil {
		gateways = m.Gateways
	}
	return slices.Contains(gateways, model.MeshGateway) && (m.Port == 0 || m.Port == port) && p.scope.client().Holds(m.Source)
}

// relayOf is what the policy towards a service, which may be nil, says of relayed connections.
func (b *builder) relayOf(svc *model.Service, subset string, port uint16) listeners.Relay {
	policy := b.policy(svc, subset, port)
	out := listeners.RelayOf(policy)
	if b.scope.Class.Foreign && svc != nil && svc.Resolution == model.ResolveNamed {
		out.Names = upstream.Cluster{Mesh: b.ix.mesh, Service: svc, Port: port, Policy: policy}.NamedPort()
	}
	return out
}

// shares resolves weighted destinations; what the first one's policy says of relaying holds for all. Nil: none has a weight.
func (b *builder) shares(destinations []*model.Destination, port uint16) (*intern.List[listeners.Weighted], listeners.Relay) {
	var out []listeners.Weighted
	var first listeners.Relay
	for _, d := range destinations {
		weight := d.Weight
		if len(destinations) == 1 {
			weight = 1
		}
		if weight == 0 {
			continue
		}
		t := b.resolve(d, port)
		if len(out) == 0 {
			first = b.relayOf(b.byHost[d.Host], d.Subset, port)
			if len(destinations) > 1 { // a subset's tunnel is for those that all go there
				first.Tunnel = listeners.RelayOf(b.policy(b.byHost[d.Host], "", port)).Tunnel
			}
		}
		first.BySource = first.BySource || t.Hash != nil && t.Hash.SourceIP
		out = append(out, listeners.Weighted{Cluster: t.Cluster, Weight: weight})
	}
	return b.m.weighted.Of(out), first
}

// base is what all listeners have in common.
func (p *outboundPlan) base() listeners.Outbound {
	return listeners.Outbound{Mesh: p.ix.mesh, Class: p.scope.Class, RegistryOnly: p.registryOnly(), EgressProxy: p.egressProxy(), AnyName: p.anyName(),
		Names: p.scope.Class.Foreign && p.ix.named, Reports: p.scope.Reports, Traced: p.scope.Traced}
}

// emit makes the listeners and the routes that ports share.
func (p *outboundPlan) emit() {
	base := p.base()
	for _, key := range p.order {
		l := p.bound[key]
		in := base
		in.Bind, in.Port, in.Routes, in.Sniff = l.address, l.port, l.routes, l.sniff
		in.Chains, in.Default, in.Relay = p.m.chains.Of(listeners.Distinct(l.chains, p.m.strings)), l.rest, l.relay
		p.listener(in)
		if l.routes == naming.Port(l.port) {
			p.share(l.port).open = true
		}
	}
	apart := p.emitApart(base)
	for port, s := range p.shared {
		in := base
		in.Port, in.Chains, in.Default, in.Relay = port, p.m.chains.Of(listeners.Distinct(s.chains, p.m.strings)), s.rest, s.relay
		if len(s.hosts) > 0 {
			in.Routes = naming.Port(port)
			p.table(routes.Configuration{Name: in.Routes, Hosts: p.m.vhosts.Of(s.hosts), CatchAll: base.UnknownHost(), Uncounted: p.ix.mesh.Headers.NoAttemptCount})
		}
		if !apart[in.Name()] && (s.open || s.chains != nil || s.rest != nil || !p.routedApart(port)) {
			p.listener(in)
		}
	}
}
