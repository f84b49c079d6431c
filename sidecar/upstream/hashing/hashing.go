// Package hashing makes the tables by which hashes lead to members: rings and Maglev tables, the same as Envoy's. It is pure: it knows members
// by a key and a weight, and must not know hosts, health or requests.
package hashing

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Sizes are those of tables.
type Sizes struct {
	Size uint64 // of a ring: the least number of places; of a Maglev table: its places, a prime
	Most uint64 // of a ring: the largest number of places; 0: MaxRing
}

// Limits of tables, as in Envoy.
const (
	MaxRing   = 8 << 20
	MaxMaglev = 5_000_011
)

// Member is whom hashes may lead to.
type Member struct {
	Key  string  // what it is hashed by
	Part float64 // of the traffic, of 1
}

// Table maps hashes to members. It holds indexes, which the garbage collector does not follow.
type Table struct {
	points []uint64 // a ring's places, ascending; nil: Maglev
	owners []uint32
}

// At returns the index of the member that a hash belongs to; a later attempt (from 0) leads to another place, as in Envoy.
func (t *Table) At(hash uint64, attempt int) int {
	if t.points == nil {
		if attempt > 0 {
			hash ^= -uint64(attempt)
		}
		return int(t.owners[hash%uint64(len(t.owners))])
	}
	i, _ := slices.BinarySearch(t.points, hash)
	return int(t.owners[(i+attempt)%len(t.owners)])
}

// RingPlaces is how many places a ring has whose lightest member has the part least of the traffic.
func (s Sizes) RingPlaces(least float64) int { return int(math.Ceil(s.scale(least))) }

// scale is how many places on the ring the whole traffic has: so many that the lightest member has a whole number of them.
func (s Sizes) scale(least float64) float64 {
	most := s.Most
	if most == 0 {
		most = MaxRing
	}
	return min(math.Ceil(least*float64(s.Size))/least, float64(most))
}

// lightest is the smallest part that a member has, 1 where there is none.
func lightest(members []Member) float64 {
	least := 1.0
	for _, m := range members {
		least = min(least, m.Part)
	}
	return least
}

// Ring gives each member places on a ring by hashing its key with a number (ketama, with XXH64).
func Ring(s Sizes, members []Member) *Table {
	type place struct {
		point uint64
		owner uint32
	}
	scale := s.scale(lightest(members))
	places := make([]place, 0, int(math.Ceil(scale))+len(members))
	made, wanted := 0.0, 0.0
	var key []byte
	for i, m := range members {
		key = append(append(key[:0], m.Key...), '_')
		stem := len(key)
		wanted += scale * m.Part
		for n := int64(0); made < wanted; n, made = n+1, made+1 {
			key = strconv.AppendInt(key[:stem], n, 10)
			places = append(places, place{xxhash.Sum64(key), uint32(i)})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.point, b.point) })
	t := &Table{points: make([]uint64, len(places)), owners: make([]uint32, len(places))}
	for i, p := range places {
		t.points[i], t.owners[i] = p.point, p.owner
	}
	return t
}

// Maglev fills a table in which the members take turns, each going through the places in an order of its own (Eisenbud et al., "Maglev",
// NSDI 2016, section 3.4). A member that weighs half of the heaviest has every second turn.
func Maglev(s Sizes, members []Member) *Table {
	type filler struct {
		at, skip uint64
		credit   float64
		owner    uint32
	}
	const free = math.MaxUint32
	order, heaviest := make([]int, len(members)), 0.0
	for i, m := range members {
		order[i], heaviest = i, max(heaviest, m.Part)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(members[a].Key, members[b].Key) })
	n := s.Size
	fillers := make([]filler, len(members))
	for i, owner := range order {
		key := members[owner].Key
		fillers[i] = filler{at: xxhash.Sum64String(key) % n, skip: seeded(key, 1)%(n-1) + 1, owner: uint32(owner)}
	}
	owners := slices.Repeat([]uint32{free}, int(n))
	for left, turn := n, 1.0; ; turn++ {
		for i := range fillers {
			f := &fillers[i]
			if turn*members[f.owner].Part < f.credit {
				continue
			}
			f.credit += heaviest
			for owners[f.at] != free {
				f.at = (f.at + f.skip) % n
			}
			owners[f.at] = f.owner
			if left--; left == 0 {
				return &Table{owners: owners}
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
