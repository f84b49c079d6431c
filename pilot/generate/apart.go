package generate

import (
	"net/netip"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// apartPort is what a listener serves that the Sidecar gives an address of its own: HTTP by host, or one service, or several by SNI.
type apartPort struct {
	routes string
	chains []listeners.Chain
	rest   *intern.List[listeners.Weighted]
	relay  listeners.Relay
}

// routedApart reports whether the routes of a port are those of a listener apart.
func (p *outboundPlan) routedApart(port uint16) bool {
	l := p.apartAt(port)
	return l != nil && l.Protocol.IsHTTP()
}

// apartAt is the Sidecar's listener for a port that has an address of its own, or nil.
func (p *outboundPlan) apartAt(port uint16) *model.EgressListener {
	if p.scope.Sidecar == nil {
		return nil
	}
	for _, l := range p.scope.Sidecar.Egress {
		if l.Port == port && l.Apart() {
			return l
		}
	}
	return nil
}

// serveApart plans one port of a service at a listener apart. What is spoken there is what the Sidecar says: HTTP finds its service by host; of
// others the first service has all, but for what rules and names in ClientHellos give to others. Where it says nothing, so it is with HTTP.
func (p *outboundPlan) serveApart(l *model.EgressListener, svc *model.Service, declared *model.ServicePort) {
	at := p.apart[l.Port]
	if at == nil {
		at = &apartPort{}
		p.apart[l.Port] = at
	}
	if l.Protocol.IsHTTP() {
		at.routes = naming.Port(l.Port)
		shared := p.share(l.Port)
		shared.hosts = append(shared.hosts, p.host(svc.Host, svc, l.Port))
		return
	}
	port := *declared
	port.Protocol = l.Protocol
	chains, rest, relay := p.opaque(svc, &port)
	at.chains = append(at.chains, chains...)
	if rest == nil && len(chains) > 0 && port.Protocol.IsTLS() {
		return
	}
	if rest == nil {
		rest, relay = p.own(svc, l.Port)
	}
	if port.Protocol.IsTLS() && !model.PartialWildcard(svc.Host) {
		at.chains = append(at.chains, listeners.Chain{Names: p.m.strings.Of([]string{svc.Host}), Targets: rest, Relay: relay})
	}
	if at.rest != nil {
		return
	}
	at.rest, at.relay = rest, relay
	if l.Protocol == model.Unknown {
		at.routes = naming.HostRoute(svc.Host, l.Port)
		p.routesOf(svc, l.Port, at.routes)
	}
}

// emitApart makes the listeners apart, and returns their names.
func (p *outboundPlan) emitApart(base listeners.Outbound) map[string]bool {
	if p.scope.Sidecar == nil || len(p.apart) == 0 {
		return nil
	}
	names := map[string]bool{}
	for _, l := range p.scope.Sidecar.Egress {
		at := p.apart[l.Port]
		if at == nil || !l.Apart() {
			continue
		}
		in := base
		in.Port, in.Routes, in.Sniff = l.Port, at.routes, l.Protocol == model.Unknown
		// A proxy of dialect 1 would take the address that a client called for one to pass unknown hosts on to, and so call itself.
		in.Direct = l.Direct && p.scope.Class.Knows(2)
		ip, err := netip.ParseAddr(l.Bind)
		wildcard := err == nil && ip.IsUnspecified()
		switch in.Bind = l.Bind; {
		case l.Bind == "":
			in.Bind, in.Also = p.scope.Class.Loopback()
		case wildcard && p.scope.Class.IPv4 && p.scope.Class.IPv6:
			in.Bind = "" // both: it stands in for the listener of the port, which has both
		}
		in.Only = l.Protocol.IsHTTP() && !wildcard
		in.Chains, in.Default, in.Relay = p.m.chains.Of(listeners.Distinct(at.chains, p.m.strings)), at.rest, at.relay
		p.listener(in)
		names[in.Name()] = true
		if in.Direct && p.scope.OnDemand { // no connection is captured that would ask for it
			p.set.unasked[wire.TypeListener][in.Name()] = true
		}
	}
	return names
}
