package config

import (
	"slices"
	"sync/atomic"

	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// Live is a configuration and the clusters that live for it. A request loads it once.
type Live struct {
	*Config
	Set *upstream.Set
}

// Store holds the configuration in force.
type Store struct {
	registry *upstream.Registry
	live     atomic.Pointer[Live]
	changed  atomic.Pointer[chan struct{}]
}

// NewStore returns a store with an empty configuration in force.
func NewStore(r *upstream.Registry) *Store {
	s := &Store{registry: r}
	first := make(chan struct{})
	s.changed.Store(&first)
	s.Swap(&Config{})
	return s
}

// Swap puts c in force: new clusters live before routes name them, and those that c lacks retire once their last
// request is done. One goroutine swaps.
func (s *Store) Swap(c *Config) {
	s.live.Store(&Live{Config: c, Set: s.registry.Apply(c.Clusters, c.Endpoints)})
	next := make(chan struct{})
	close(*s.changed.Swap(&next))
}

// Changed returns a channel that closes with the next Swap. Who waits for something takes it before looking for that.
func (s *Store) Changed() <-chan struct{} { return *s.changed.Load() }

// Load returns what is in force; never nil.
func (s *Store) Load() *Live { return s.live.Load() }

// ByName says whether a chain leads where the client's first words say.
func (l *Live) ByName(t *TCP) bool {
	return slices.ContainsFunc(t.Clusters, func(w route.Weighted) bool {
		c := l.Set.Get(w.Cluster)
		return c != nil && c.Named()
	})
}
