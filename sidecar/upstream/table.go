package upstream

import (
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
)

// member is a host in a table and its part of the traffic, of 1.
type member struct {
	host *Host
	part float64
}

// places is how many places the group's table has.
func (p *plan) places(g *group) int {
	if p.balancer == Maglev {
		return int(p.hashing.Size)
	}
	least := 1.0
	for _, m := range g.members {
		least = min(least, m.part)
	}
	return p.hashing.RingPlaces(least)
}

// table makes the group's table. Equal members have equal tables in every proxy, Envoy's included.
func (p *plan) table(g *group) *hashing.Table {
	all := make([]hashing.Member, len(g.members))
	for i, m := range g.members {
		all[i] = hashing.Member{Key: m.host.key(), Part: m.part}
	}
	if p.balancer == Maglev {
		return hashing.Maglev(p.hashing, all)
	}
	return hashing.Ring(p.hashing, all)
}

// key is what a host is hashed by: its address.
func (h *Host) key() string { return h.Endpoint().Key() }

// members are the hosts that one table is for, with their parts: by their weights alone, or by those of their localities first.
func members(hosts []*Host, byLocality bool) []member {
	total, out := 0.0, make([]member, 0, len(hosts))
	sums, weights := map[exchange.Locality]float64{}, map[exchange.Locality]float64{}
	for _, h := range hosts {
		if ep := h.Endpoint(); byLocality {
			sums[ep.Locality] += float64(h.weight())
			weights[ep.Locality] = float64(ep.LocalityWeight)
		}
	}
	for _, h := range hosts {
		part := float64(h.weight())
		if at := h.Endpoint().Locality; byLocality {
			part *= weights[at] / sums[at]
		}
		if part > 0 {
			total += part
			out = append(out, member{h, part})
		}
	}
	for i := range out {
		out[i].part /= total
	}
	return out
}
