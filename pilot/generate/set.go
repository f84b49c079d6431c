package generate

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
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
	// unasked are, by type, the resources that a proxy on demand is told without asking; a type that is not here is told whole.
	unasked map[string]map[string]bool
	tables  map[string]*routes.OnDemand // by the name of the route configuration
	leads   map[string]leads            // by the name of the listener, on demand
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

// Each returns a set of what f makes of each resource, whose type and name stay.
func (s *Set) Each(f func(*wire.Resource) *wire.Resource) *Set {
	out := &Set{byType: make(map[string][]*wire.Resource, len(s.byType)), Reach: s.Reach, Secrets: s.Secrets, Conflicts: s.Conflicts}
	for t, list := range s.byType {
		for _, r := range list {
			out.byType[t] = append(out.byType[t], f(r))
		}
	}
	return out
}

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

// Partial reports whether proxies of the scope are told of some resources of a type only where they ask for them.
func (s *Set) Partial(typeURL string) bool { return s.unasked[typeURL] != nil }

// Includes reports whether proxies of the scope are told of a resource without asking.
func (s *Set) Includes(typeURL, name string) bool {
	told, partial := s.unasked[typeURL]
	return !partial || told[name]
}

// Unasked are the names of a partial type of which proxies of the scope are told without asking. They are not to be changed.
func (s *Set) Unasked(typeURL string) map[string]bool { return s.unasked[typeURL] }

// leads is where a listener leads.
type leads struct {
	clusters []string
	table    string // "": none
}

// Needs returns the clusters, and the route configuration, that a host or a listener on demand refers to.
func (s *Set) Needs(typeURL, name string) (clusters []string, table string) {
	if typeURL == wire.TypeListener {
		return s.leads[name].clusters, s.leads[name].table
	}
	if at, host, ok := strings.Cut(name, "/"); ok && typeURL == wire.TypeVirtualHost && s.tables[at] != nil {
		return s.tables[at].Clusters(host), ""
	}
	return nil, ""
}

// Host returns what a route configuration on demand has for a host, as a resource of the name that was asked for: the configuration's, a slash, and
// the host. Nil: nothing.
func (s *Set) Host(name string) *wire.Resource {
	table, host, _ := strings.Cut(name, "/")
	if t := s.tables[table]; t != nil {
		if r := t.Find(host); r != nil {
			return &wire.Resource{Type: r.Type, Name: name, Version: r.Version, Body: r.Body}
		}
	}
	return nil
}

// SameHosts reports whether all hosts on demand are those of another set.
func (s *Set) SameHosts(o *Set) bool { return maps.Equal(s.tables, o.tables) }
