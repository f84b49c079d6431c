package upstream

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
)

// Key is what of a request a cluster chooses by: hashing balancers by its hash, of which the zero Key stands for a random one, Named clusters by its name.
type Key struct {
	Hash  uint64
	Given bool
	Name  string // host or host:port, as the request has it
}

// Hashes says whether the cluster's balancer looks at keys.
func (c *Cluster) Hashes() bool { return c.config().Balancer.hashes() }

// inline is how many places tables may have to be made at once: about a millisecond's work. Larger ones are made in the background.
const inline = 4096

// walk bounds how many places are looked at for a host that may be chosen.
const walk = 64

// hashed chooses by a hash, which also decides about the priority. Attempts lead to different places.
func (s *state) hashed(hash uint64, attempt int) *Host {
	g := s.groups[0]
	if len(s.groups) > 1 {
		share := float64(hash%100+1) / 100
		for _, g = range s.groups {
			if share <= g.upTo {
				break
			}
		}
	}
	for n := range walk {
		if h := g.members[g.table.At(hash, attempt+n)].host; !h.gone.Load() && (g.panics || h.fit()) {
			return h
		}
	}
	for n := range s.hosts { // the table is of hosts that are all gone
		if h := s.hosts[(hash%uint64(len(s.hosts))+uint64(n))%uint64(len(s.hosts))]; h.fit() {
			return h
		}
	}
	return g.members[g.table.At(hash, attempt)].host
}

// publish puts a state in force, its groups made anew. A hashing balancer's stay as they were until their tables are there; c.mu is held.
func (c *Cluster) publish(next *state) {
	old := c.state.Load()
	next.groups = groups(next.cfg, next.hosts)
	next.date()
	c.planned = nil
	if !next.cfg.Balancer.hashes() || !c.tabulate(old, next) {
		c.building = nil // what is being made is of no use any more
	}
	c.state.Store(next)
	if old.ready != nil && next.ready == nil {
		close(old.ready)
	}
}

// plan is groups whose tables are to be made, for one kind of table.
type plan struct {
	balancer Balancer
	hashing  hashing.Sizes
	groups   []*group
}

func (s *state) plan() *plan { return &plan{s.cfg.Balancer, s.cfg.Hashing, s.groups} }

func (p *plan) size() int {
	n := 0
	for _, g := range p.groups {
		n += p.places(g)
	}
	return n
}

func (p *plan) make() {
	for _, g := range p.groups {
		g.table = p.table(g)
	}
}

// tabulate makes the tables of next, or, if it returns true, has them made and keeps those of old meanwhile. c.mu is held.
func (c *Cluster) tabulate(old, next *state) bool {
	p := next.plan()
	if p.size() <= inline {
		p.make()
		return false
	}
	c.planned = p
	switch {
	case old.ready != nil:
		next.groups, next.ready = nil, old.ready
	case old.cfg.Balancer == next.cfg.Balancer && old.cfg.Hashing == next.cfg.Hashing && len(old.groups) > 0:
		next.groups = old.groups
	default:
		next.groups, next.ready = nil, make(chan struct{})
	}
	if !c.tabulating {
		c.tabulating = true
		go c.tables()
	}
	return true
}

// tables makes planned tables until none is left. While it makes some, newer ones may be planned: those in between are never made.
func (c *Cluster) tables() {
	defer c.owner.guard()
	ended := false
	defer func() {
		if !ended { // by a defect: let others try
			c.mu.Lock()
			c.tabulating = false
			c.mu.Unlock()
		}
	}()
	for p := c.next(nil); p != nil; p = c.next(p) {
		p.make()
	}
	ended = true
}

// next puts made tables in force, unless the cluster has no use for them any more, and returns what to make next.
func (c *Cluster) next(made *plan) *plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state.Load()
	if made != nil && c.building == made && s.cfg.Balancer == made.balancer && s.cfg.Hashing == made.hashing {
		c.state.Store(&state{cfg: s.cfg, hosts: s.hosts, last: s.last, groups: made.groups})
		if s.ready != nil {
			close(s.ready)
		}
	}
	c.building, c.planned = c.planned, nil
	c.tabulating = c.building != nil
	return c.building
}

// awaitTables waits, at most a connect timeout, for the first tables; false where there is nothing to wait for.
func (s *state) awaitTables() bool {
	if s.ready == nil {
		return false
	}
	select {
	case <-s.ready:
		return true
	case <-time.After(s.cfg.connectTimeout()):
		return false
	}
}
