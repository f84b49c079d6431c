package upstream

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
	"github.com/heddle-mesh/heddle/sidecar/upstream/rota"
)

// overprovision is how much of its share a priority or a locality is trusted to take on, in percent of its fit hosts: only where less than 5 of 7
// are fit does traffic go elsewhere. It is Envoy's overprovisioning factor.
const overprovision = 140

// group is hosts that share a part of the traffic.
type group struct {
	upTo     float64 // its part of the traffic and all parts before it, of 1
	schedule []*Host // each as often as it weighs
	turn     atomic.Uint64
	era      era // of the schedule's hosts, where there is a warm-up

	members []member // of a hashing balancer, instead of a schedule
	table   *hashing.Table
	panics  bool // hosts that are not fit are chosen, too
}

// level is the hosts of one priority, or of one locality in it.
type level struct {
	all, fit []*Host
	weight   uint64 // of a locality
	panics   bool   // hosts that are not fit are chosen, too
}

// health is what part of its traffic the level can take on, in percent. Hosts that drain are as good as gone.
func (l *level) health() int { return min(100, overprovision*len(l.fit)/max(1, l.staying())) }

func (l *level) staying() int {
	n := 0
	for _, h := range l.all {
		if !h.Endpoint().Draining {
			n++
		}
	}
	return n
}

func (l *level) add(h *Host) {
	l.all = append(l.all, h)
	if h.fit() {
		l.fit = append(l.fit, h)
	}
}

// levels sorts hosts by priority.
func levels(hosts []*Host) []*level {
	var out []*level
	var priorities []uint32
	for _, h := range hosts {
		at, there := slices.BinarySearch(priorities, h.Endpoint().Priority)
		if !there {
			priorities = slices.Insert(priorities, at, h.Endpoint().Priority)
			out = slices.Insert(out, at, &level{})
		}
		out[at].add(h)
	}
	return out
}

// groups says whom to choose from: the first priority takes all traffic while it is healthy enough, and what it cannot take on goes to the next, as in
// Envoy. In a panic a priority's hosts are all chosen from, fit or not; where all priorities panic, each takes as much as it has hosts.
func groups(cfg *Config, hosts []*Host) (out []*group) {
	all, total := levels(hosts), 0
	for _, l := range all {
		total = min(100, total+l.health())
	}
	if len(hosts) == 0 || total == 0 && cfg.Panic == 0 {
		return nil
	}
	everywhere := true
	for _, l := range all {
		l.panics = total < 100 && l.fewer(cfg.Panic)
		everywhere = everywhere && l.panics
	}
	parts := byNumber
	if !everywhere {
		parts = func(all []*level) []int { return loads(all, total) }
	}
	for i, load := range parts(all) {
		if load > 0 {
			out = all[i].groups(cfg, out, float64(load))
		}
	}
	return cumulate(out)
}

// fewer says whether fewer of the hosts are fit than a panic needs.
func (l *level) fewer(percent uint32) bool {
	return percent > 0 && (l.staying() == 0 || 100*len(l.fit) < int(percent)*l.staying())
}

// groups adds those of a priority. Localities count by their weights, but in a panic, as in Envoy, only to hashing balancers.
func (l *level) groups(cfg *Config, out []*group, part float64) []*group {
	hosts := l.fit
	if l.panics {
		hosts = l.all
	}
	switch {
	case cfg.Balancer.hashes():
		if g := (&group{upTo: part, members: members(hosts, cfg.ByLocality), panics: l.panics}); len(g.members) > 0 {
			out = append(out, g)
		}
		return out
	case cfg.ByLocality && !l.panics:
		if by := l.byLocality(cfg, part); len(by) > 0 {
			return append(out, by...)
		}
	}
	return append(out, scheduled(cfg, part, hosts))
}

// byNumber are the parts of the traffic, in percent, that the priorities take by how many hosts they have.
func byNumber(all []*level) []int {
	hosts, left := 0, 100
	for _, l := range all {
		hosts += len(l.all)
	}
	out := make([]int, len(all))
	for i, l := range all {
		out[i] = 100 * len(l.all) / hosts
		left -= out[i]
	}
	out[0] += left // of rounding
	return out
}

// loads are the parts of the traffic, in percent, that the priorities take.
func loads(all []*level, total int) []int {
	out := make([]int, len(all))
	left, first := 100, -1
	for i, l := range all {
		out[i] = min(left, l.health()*100/total)
		if left -= out[i]; first < 0 && out[i] > 0 {
			first = i
		}
	}
	out[first] += left // of rounding
	return out
}

// byLocality divides a priority's part among its localities, by their weights and by how healthy they are; none: no weight is left.
func (l *level) byLocality(cfg *Config, part float64) (out []*group) {
	places := map[exchange.Locality]*level{}
	var order []*level
	for _, h := range l.all {
		ep := h.Endpoint()
		if places[ep.Locality] == nil {
			places[ep.Locality] = &level{weight: uint64(ep.LocalityWeight)}
			order = append(order, places[ep.Locality])
		}
		places[ep.Locality].add(h)
	}
	total := 0.0
	share := func(p *level) float64 {
		return float64(p.weight) * min(100, float64(overprovision*len(p.fit))/float64(max(1, p.staying())))
	}
	for _, p := range order {
		total += share(p)
	}
	for _, p := range order {
		if s := share(p); s > 0 {
			out = append(out, scheduled(cfg, part*s/total, p.fit))
		}
	}
	return out
}

// scheduled is a part of the traffic for hosts that are chosen as often as they weigh; RANDOM does not weigh them, as in Envoy.
func scheduled(cfg *Config, part float64, hosts []*Host) *group {
	if cfg.Balancer != Random {
		hosts = rota.Spread(hosts, (*Host).weight)
	}
	return &group{upTo: part, schedule: hosts}
}

// cumulate turns parts into where they end, of 1.
func cumulate(all []*group) []*group {
	sum := 0.0
	for _, g := range all {
		sum += g.upTo
		g.upTo = sum
	}
	for _, g := range all {
		g.upTo /= sum
		g.turn.Store(rand.Uint64())
	}
	return all
}

// pick returns the group for one request.
func pick(all []*group) *group {
	if len(all) == 1 {
		return all[0]
	}
	at, _ := slices.BinarySearchFunc(all, rand.Float64(), func(g *group, r float64) int { return cmp.Compare(g.upTo, r) })
	return all[min(at, len(all)-1)]
}
