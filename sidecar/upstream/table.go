package upstream

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Hashing sizes the table of a hashing balancer.
type Hashing struct {
	Size uint64 // RingHash: the least number of places on the ring; Maglev: places in the table, a prime
	Most uint64 // RingHash: the largest number of places; 0: MaxRing
}

// Limits of tables, as in Envoy.
const (
	MaxRing   = 8 << 20
	MaxMaglev = 5_000_011
)

// member is a host in a table and its part of the traffic, of 1.
type member struct {
	host *Host
	part float64
}

// table maps hashes to members. It holds indexes, which the garbage collector does not follow.
type table struct {
	points []uint64 // a ring's places, ascending; nil: Maglev
	owners []uint32
}

// at returns the index of the member that a hash belongs to; a later attempt (from 0) leads to another place, as in Envoy.
func (t *table) at(hash uint64, attempt int) uint32 {
	if t.points == nil {
		if attempt > 0 {
			hash ^= -uint64(attempt)
		}
		return t.owners[hash%uint64(len(t.owners))]
	}
	i, _ := slices.BinarySearch(t.points, hash)
	return t.owners[(i+attempt)%len(t.owners)]
}

// places is how many places the table of members has.
func (h Hashing) places(b Balancer, members []member) int {
	if b == Maglev {
		return int(h.Size)
	}
	return int(math.Ceil(h.scale(members)))
}

// scale is how many places on the ring the whole traffic has: so many that the lightest member has a whole number of them.
func (h Hashing) scale(members []member) float64 {
	least, most := 1.0, h.Most
	for _, m := range members {
		least = min(least, m.part)
	}
	if most == 0 {
		most = MaxRing
	}
	return min(math.Ceil(least*float64(h.Size))/least, float64(most))
}

// build makes the table. Equal members have equal tables in every proxy, Envoy's included.
func (h Hashing) build(b Balancer, members []member) *table {
	if b == Maglev {
		return maglev(int(h.Size), members)
	}
	return ring(h.scale(members), members)
}

// ring gives each member places on a ring by hashing its address with a number (ketama, with XXH64).
func ring(scale float64, members []member) *table {
	type place struct {
		point uint64
		owner uint32
	}
	places := make([]place, 0, int(math.Ceil(scale))+len(members))
	made, wanted := 0.0, 0.0
	var key []byte
	for i, m := range members {
		key = append(append(key[:0], m.host.key()...), '_')
		stem := len(key)
		wanted += scale * m.part
		for n := int64(0); made < wanted; n, made = n+1, made+1 {
			key = strconv.AppendInt(key[:stem], n, 10)
			places = append(places, place{xxhash.Sum64(key), uint32(i)})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.point, b.point) })
	t := &table{points: make([]uint64, len(places)), owners: make([]uint32, len(places))}
	for i, p := range places {
		t.points[i], t.owners[i] = p.point, p.owner
	}
	return t
}

// maglev fills a table in which the members take turns, each going through the places in an order of its own (Eisenbud et al., "Maglev",
// NSDI 2016, section 3.4). A member that weighs half of the heaviest has every second turn.
func maglev(size int, members []member) *table {
	type filler struct {
		at, skip uint64
		credit   float64
		owner    uint32
	}
	const free = math.MaxUint32
	order, heaviest := make([]int, len(members)), 0.0
	keys := make([]string, len(members))
	for i, m := range members {
		order[i], keys[i], heaviest = i, m.host.key(), max(heaviest, m.part)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	n := uint64(size)
	fillers := make([]filler, len(members))
	for i, owner := range order {
		fillers[i] = filler{at: xxhash.Sum64String(keys[owner]) % n, skip: seeded(keys[owner], 1)%(n-1) + 1, owner: uint32(owner)}
	}
	owners := slices.Repeat([]uint32{free}, size)
	for left, turn := size, 1.0; ; turn++ {
		for i := range fillers {
			f := &fillers[i]
			if turn*members[f.owner].part < f.credit {
				continue
			}
			f.credit += heaviest
			for owners[f.at] != free {
				f.at = (f.at + f.skip) % n
			}
			owners[f.at] = f.owner
			if left--; left == 0 {
				return &table{owners: owners}
			}
		}
	}
}

func seeded(text string, seed uint64) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	_, _ = d.WriteString(text)
	return d.Sum64()
}

// key is what a host is hashed by: its address.
func (h *Host) key() string { return endpointKey(h.Endpoint()) }

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
