package upstream

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/previous"
)

// detours is what a state has for tries that keep away from where earlier ones went, made when the first such try comes.
type detours struct {
	once sync.Once
	bit  map[*Host]uint64 // of the host's priority; of its locality, where all hosts have the same priority
	fit  uint64           // those that can take traffic
	made [4]atomic.Pointer[detour]
}

// detour is a state without some priorities.
type detour struct {
	state
	without uint64
	hashes  bool
}

// PickElsewhere is PickFor without the priorities of the hosts that were tried, of which it learns after every so many tries, as Envoy's
// previous_priorities does: the others take the traffic by their health and weights, and where none can, all do as before.
func (c *Cluster) PickElsewhere(key Key, dst netip.AddrPort, tried []*Host, every, picks int) (*Host, exchange.Outcome) {
	s := c.state.Load()
	if len(s.groups) == 0 || len(tried) < every {
		return c.PickFor(key, dst, tried, picks)
	}
	without := s.without(tried, every)
	if without == 0 {
		return c.PickFor(key, dst, tried, picks)
	}
	d, hash := s.detour(without), key.Hash
	if !key.Given {
		hash = rand.Uint64()
	}
	h := d.choose(c, hash, 0)
	for n := 1; n < picks && slices.Contains(tried, h); n++ {
		h = d.choose(c, hash, n)
	}
	return s.lastResort(h, tried), exchange.OK
}

// survey gives each priority, or locality, a bit; the 65th has none, and is never left out.
func (s *state) survey() {
	all := levels(s.hosts)
	if len(all) == 1 {
		all = localities(s.hosts)
	}
	s.bit = make(map[*Host]uint64, len(s.hosts))
	for n, l := range all {
		for _, h := range l.all {
			s.bit[h] = 1 << n
		}
		if l.health() > 0 {
			s.fit |= 1 << n
		}
	}
}

// localities sorts hosts by where they are.
func localities(hosts []*Host) []*level {
	var out []*level
	at := map[exchange.Locality]*level{}
	for _, h := range hosts {
		where := h.Endpoint().Locality
		if at[where] == nil {
			at[where] = &level{}
			out = append(out, at[where])
		}
		at[where].add(h)
	}
	return out
}

// without are the bits that are left out after some tries.
func (s *state) without(tried []*Host, every int) uint64 {
	s.once.Do(s.survey)
	been := make([]uint64, len(tried))
	for i, h := range tried {
		been[i] = s.bit[h]
	}
	return previous.Excluded(been, every, s.fit)
}

// detour returns the state without some priorities. Few are kept: those of the n-th priority that fails follow upon those of the one before.
func (s *state) detour(without uint64) *detour {
	kept := &s.made[bits.OnesCount64(without)%len(s.made)]
	if d := kept.Load(); d != nil && d.without == without {
		return d
	}
	cfg, d := *s.cfg, &detour{without: without, hashes: s.cfg.Balancer.hashes()}
	if d.hashes { // schedules instead of tables, which take long to make
		cfg.Balancer = LeastRequest
	}
	left := slices.DeleteFunc(slices.Clone(s.hosts), func(h *Host) bool { return s.bit[h]&without != 0 })
	d.cfg, d.hosts, d.groups = &cfg, left, groups(&cfg, left)
	d.date()
	kept.Store(d)
	return d
}

func (d *detour) choose(c *Cluster, hash uint64, attempt int) *Host {
	if !d.hashes {
		return c.choose(&d.state, hash, attempt)
	}
	g, share := d.groups[0], float64(hash>>32)/(1<<32)
	for _, g = range d.groups {
		if share < g.upTo {
			break
		}
	}
	return g.schedule[(hash+uint64(attempt))%uint64(len(g.schedule))]
}
