package generate

import (
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/generate/claims"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// unlistedPort is the one port on which rules for a host need no service that has the port.
const unlistedPort = 80

// unlisted routes the hosts that VirtualServices name on ports that no service of the host has: on port 80, and where the VirtualService rules another of
// its hosts. A wildcard around services of the port stands for these, and for no other names.
func (p *outboundPlan) unlisted() {
	open := p.httpPorts()
	done := map[string]bool{} // by name and port
	for _, vs := range p.virtuals {
		for _, port := range p.ruledPorts(vs, open) {
			for _, host := range vs.Hosts {
				if at := naming.HostRoute(host, port); !done[at] && (open[port] || p.byHost[host] == nil) && host != "*" && !p.listed(host, port) {
					done[at] = p.unlist(host, port, vs)
				}
			}
		}
	}
}

// unlist routes a host that no service has on a port, if a VirtualService has rules for the client there.
func (p *outboundPlan) unlist(host string, port uint16, vs *model.VirtualService) bool {
	in := p.unruled(host, nil, port)
	if !in.Obeys(vs) {
		return false
	}
	h := p.m.hosts.Get(p.ruled(in, vs), routes.NewVirtualHost)
	if !h.Answers() {
		return false
	}
	shared := p.share(port)
	shared.hosts = append(shared.hosts, h)
	return true
}

// httpPorts are those of the wildcard listeners that HTTP is spoken at.
func (p *outboundPlan) httpPorts() map[uint16]bool {
	out := map[uint16]bool{}
	for port, s := range p.shared {
		out[port] = len(s.hosts) > 0
	}
	return out
}

// ruledPorts are those on which hosts of a VirtualService that no service has there have its rules.
func (p *outboundPlan) ruledPorts(vs *model.VirtualService, open map[uint16]bool) []uint16 {
	if len(vs.HTTP) == 0 {
		return nil
	}
	out := []uint16{unlistedPort}
	add := func(svc *model.Service) {
		for i := range svc.Ports {
			if n := svc.Ports[i].Number; open[n] && p.calls(svc, n) && claims.MaySpeakHTTP(svc.Ports[i].Protocol) {
				out = append(out, n)
			}
		}
	}
	for _, host := range vs.Hosts {
		if len(vs.Hosts) == 1 {
			break // on other ports it is the service's
		}
		if svc := p.byHost[host]; svc != nil {
			add(svc)
		}
		if !strings.HasPrefix(host, "*") {
			continue
		}
		for _, s := range p.services {
			if naming.Covers(host, s.Host) {
				add(s.Service)
			}
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(port uint16) bool { return p.limits.At(port, []*model.VirtualService{vs}) == nil })
}

// listed reports whether a service has a port of a host, or of one that a wildcard has names in common with.
func (p *outboundPlan) listed(host string, port uint16) bool {
	if !strings.HasPrefix(host, "*") {
		svc := p.byHost[host]
		return svc != nil && p.calls(svc, port)
	}
	return slices.ContainsFunc(p.services, func(s imported) bool {
		_, both := naming.Narrower(host, s.Host)
		return both && p.calls(s.Service, port)
	})
}

// calls reports whether a service has a port that clients may call.
func (p *outboundPlan) calls(svc *model.Service, port uint16) bool {
	return svc.Port(port) != nil && (svc.Resolution == model.ResolveAlias || p.seen[svc.Host].Dials(port) || p.seen[svc.Host].At(port) != nil)
}

// ownAliases gives ExternalName services that rules are for virtual hosts of their own, ahead of those of what they stand for.
func (p *outboundPlan) ownAliases() {
	open := p.httpPorts()
	own := map[uint16][]*routes.VirtualHost{}
	for _, s := range p.services {
		if s.Resolution != model.ResolveAlias {
			continue
		}
		for i := range s.Ports {
			port := &s.Ports[i]
			if !open[port.Number] || !claims.MaySpeakHTTP(port.Protocol) {
				continue
			}
			in := p.hostInputs(s.Host, s.Service, port.Number)
			if in.Virtuals == nil {
				continue
			}
			in.Local = routes.Local(p.ix.mesh, s.Service, p.scope.Namespace)
			if h := p.m.hosts.Get(in, routes.NewVirtualHost); h.Answers() {
				own[port.Number] = append(own[port.Number], h)
			}
		}
	}
	for port, hosts := range own {
		shared := p.share(port)
		shared.hosts = append(hosts, shared.hosts...)
	}
}
