package istioapi

import (
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

func (r *reader) tlsRoute(path string, t *networking.TLSRoute, hosts []string) *model.TLSRoute {
	out := &model.TLSRoute{Destinations: r.l4Destinations(path+".route", t.Route)}
	if len(t.Match) == 0 {
		r.Errorf(path+".match", "required")
	}
	for i, m := range t.Match {
		p := r.at(path+".match", i)
		match := r.l4Match(p, l4(m))
		if len(m.SniHosts) == 0 {
			r.Errorf(p+".sniHosts", "required")
		}
		for j, sni := range m.SniHosts {
			sni = strings.ToLower(sni)
			if _, err := netip.ParseAddr(sni); err == nil {
				r.Warnf(r.at(p+".sniHosts", j), "%q: clients send no addresses as server names", sni)
			} else if why := values.ServerName(sni); why != "" {
				r.Errorf(r.at(p+".sniHosts", j), "%q: %s", sni, why)
			} else if !covered(sni, hosts) {
				r.Errorf(r.at(p+".sniHosts", j), "%q is not among spec.hosts", sni)
			}
			match.SNI = append(match.SNI, sni)
		}
		out.Matches = append(out.Matches, match)
	}
	return out
}

// covered reports whether one of hosts is name, or a wildcard that includes it.
func covered(name string, hosts []string) bool {
	for _, h := range hosts {
		if model.HostIncludes(h, name) {
			return true
		}
	}
	return false
}

func (r *reader) tcpRoute(path string, t *networking.TCPRoute) *model.TCPRoute {
	out := &model.TCPRoute{Destinations: r.l4Destinations(path+".route", t.Route)}
	for i, m := range t.Match {
		out.Matches = append(out.Matches, r.l4Match(r.at(path+".match", i), m))
	}
	return out
}

// l4 is the part of a TLS match that a TCP match has too.
func l4(m *networking.TLSMatchAttributes) *networking.L4MatchAttributes {
	return &networking.L4MatchAttributes{DestinationSubnets: m.DestinationSubnets, Port: m.Port, SourceLabels: m.SourceLabels,
		SourceNamespace: m.SourceNamespace, Gateways: m.Gateways}
}

func (r *reader) l4Match(path string, m *networking.L4MatchAttributes) *model.L4Match {
	out := &model.L4Match{Source: r.source(path, m.SourceLabels, m.SourceNamespace)}
	if m.Port != 0 {
		out.Port = values.Port(&r.Log, path+".port", m.Port)
	}
	for i, s := range m.DestinationSubnets {
		block, ok := values.CIDR(s)
		if !ok {
			r.Errorf(r.at(path+".destinationSubnets", i), "%q is not an address or a block of addresses", s)
		}
		out.Subnets = append(out.Subnets, block)
	}
	if len(m.Gateways) > 0 {
		out.Gateways = r.gateways(path+".gateways", m.Gateways)
	}
	return out
}

// subnetsAtGateways warns of destinationSubnets that a gateway, where every connection ends, does not look at.
func (r *reader) subnetsAtGateways(path string, matches []*model.L4Match, gateways []string) {
	for i, m := range matches {
		through := gateways
		if m.Gateways != nil {
			through = m.Gateways
		}
		edge := slices.IndexFunc(through, func(g string) bool { return g != model.MeshGateway })
		if edge >= 0 && len(m.Subnets) > 0 {
			r.Warnf(r.at(path, i)+".destinationSubnets", "without effect at the Gateway %s: only sidecars look at it", through[edge])
		}
	}
}

func (r *reader) l4Destinations(path string, routes []*networking.RouteDestination) []*model.Destination {
	if len(routes) == 0 {
		r.Errorf(path, "required")
	}
	all, weights := make([]*model.Destination, 0, len(routes)), make([]int32, 0, len(routes))
	for i, d := range routes {
		all, weights = append(all, r.destination(r.at(path, i)+".destination", d.Destination)), append(weights, d.Weight)
	}
	return r.weigh(path, all, weights)
}
