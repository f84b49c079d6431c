package generate

import (
	"slices"
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Set is what generators made for a scope. It is immutable once it was handed out.
type Set struct {
	byType map[string][]*wire.Resource // sorted by name
	// Reach is whom the clusters reach. Sets of scopes that reach the same share it. Nil: nobody.
	Reach *Reach
	// Secrets are the names of Kubernetes Secrets that resources refer to, sorted, without wire.SecretPrefix and wire.CACertSuffix.
	Secrets []string
	// Conflicts are objects that could not be served beside others, in words.
	Conflicts []string
}

// Reach is the clusters that get endpoints over EDS, and how they look at them.
type Reach struct {
	clusters []*wire.Resource // all, sorted by name
	views    map[string]upstream.EndpointView
	names    map[model.EndpointKey][]string
	secrets  []string
}

// View returns how a cluster looks at its endpoints; false: it has none over EDS.
func (r *Reach) View(cluster string) (upstream.EndpointView, bool) {
	if r == nil {
		return upstream.EndpointView{}, false
	}
	v, ok := r.views[cluster]
	return v, ok
}

// Clusters returns the clusters that look at the endpoints of a service port.
func (r *Reach) Clusters(key model.EndpointKey) []string {
	if r == nil {
		return nil
	}
	return r.names[key]
}

// Views returns all views by cluster name.
func (r *Reach) Views() map[string]upstream.EndpointView {
	if r == nil {
		return nil
	}
	return r.views
}

func newSet() *Set { return &Set{byType: map[string][]*wire.Resource{}} }

func (s *Set) add(r *wire.Resource) { s.byType[r.Type] = append(s.byType[r.Type], r) }

// finish sorts; of equal names the first stays.
func (s *Set) finish() *Set {
	for t, list := range s.byType {
		if t == wire.TypeCluster && s.Reach != nil {
			continue // shared, and sorted already
		}
		sort.SliceStable(list, func(i, j int) bool { return list[i].Name < list[j].Name })
		kept := list[:0]
		for i, r := range list {
			if i == 0 || r.Name != list[i-1].Name {
				kept = append(kept, r)
			}
		}
		s.byType[t] = kept
	}
	sort.Strings(s.Secrets)
	return s
}

// secret notes that resources refer to a Secret.
func (s *Set) secret(name string) {
	if name != "" && !slices.Contains(s.Secrets, name) {
		s.Secrets = append(s.Secrets, name)
	}
}

// secretsOf notes what a server's tls block refers to.
func (s *Set) secretsOf(t *model.ServerTLS) {
	for _, name := range t.Certificates {
		s.secret(name)
	}
	s.secret(t.Authority)
}

// All returns the resources of a type, sorted by name.
func (s *Set) All(typeURL string) []*wire.Resource { return s.byType[typeURL] }

// Get returns a resource by name, or nil.
func (s *Set) Get(typeURL, name string) *wire.Resource {
	list := s.byType[typeURL]
	i := sort.Search(len(list), func(i int) bool { return list[i].Name >= name })
	if i < len(list) && list[i].Name == name {
		return list[i]
	}
	return nil
}

// SecretName splits the name of an SDS resource into the Secret's name and whether its CA is asked for. ok is false for names
// that do not stand for a Secret.
func SecretName(resource string) (name string, ca, ok bool) {
	name, ok = strings.CutPrefix(resource, wire.SecretPrefix)
	if base, found := strings.CutSuffix(name, wire.CACertSuffix); found {
		return base, true, ok
	}
	return name, false, ok
}
