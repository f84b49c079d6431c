package upstream

import "context"

// Registry keeps the living clusters.
type Registry struct{ opts Options }

// NewRegistry returns an empty registry.
func NewRegistry(o Options) *Registry { return &Registry{opts: o} }

// Apply makes the living clusters what the descriptions say and returns them. Unchanged pointers cost next to nothing;
// clusters that are no longer described retire: their idle connections close, those in use close after use. One
// goroutine applies.
func (r *Registry) Apply(clusters map[string]*Config, endpoints map[string]*Assignment) *Set {
	return &Set{}
}

// Run resolves DNS clusters, ends ejections and closes idle connections until ctx ends.
func (r *Registry) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Set is the living clusters of one configuration.
type Set struct{ clusters map[string]*Cluster }

// Get returns a cluster, nil where there is none of that name.
func (s *Set) Get(name string) *Cluster { return s.clusters[name] }

// Cluster is a living cluster.
type Cluster struct{}
