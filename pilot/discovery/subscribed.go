package discovery

import (
	"context"
	"maps"
	"slices"

	"github.com/heddle-mesh/heddle/api/wire"
)

// absent is the version of a name that the client was told does not exist.
const absent = ""

// subscribed is what a stream knows of one type.
type subscribed struct {
	typ      string
	wildcard bool
	partial  bool // wildcard is not for all: others come where they are among names
	names    map[string]bool
	early    map[string]bool   // names that count as subscribed before the client asked
	told     map[string]string // name to version that the client holds, or absent
	missing  map[string]bool   // Secrets that cannot be sent
	left     []string          // names that nobody asks for any more, since takeLeft
	nonce    string            // of the last response
	greeted  bool              // whether any response was sent
}

func newSubscribed(typ string) *subscribed {
	return &subscribed{typ: typ, names: map[string]bool{}, early: map[string]bool{}, told: map[string]string{}, missing: map[string]bool{}}
}

// leave forgets a name.
func (s *subscribed) leave(name string) {
	delete(s.missing, name)
	s.left = append(s.left, name)
}

// takeLeft returns the names that were left, once.
func (s *subscribed) takeLeft() []string {
	left := s.left
	s.left = nil
	return left
}

// begin takes what the client holds from an earlier stream.
func (s *subscribed) begin(r *request) {
	for name, version := range r.held {
		s.told[name] = version
	}
	s.wildcard = wildcard(s.typ) && len(r.subscribe) == 0 && len(r.names) == 0
}

// differ applies a delta request's subscriptions and returns the names to answer.
func (s *subscribed) differ(r *request) map[string]bool {
	fresh := map[string]bool{}
	for _, name := range r.unsubscribe {
		if name == "*" {
			s.wildcard = false
			continue
		}
		delete(s.names, name)
		delete(s.early, name)
		if !s.wildcard || s.partial {
			delete(s.told, name)
			s.leave(name)
		}
	}
	for _, name := range r.subscribe {
		if name == "*" && wildcard(s.typ) {
			s.wildcard = true
			continue
		}
		if s.early[name] { // the answer is on its way, or there
			delete(s.early, name)
			continue
		}
		if _, held := r.held[name]; !held {
			delete(s.told, name) // asked for anew: it is to be answered whatever was sent before
		}
		s.names[name] = true
		fresh[name] = true
	}
	return fresh
}

// replace applies a state-of-the-world request's names and returns those that are new.
func (s *subscribed) replace(r *request) map[string]bool {
	fresh := map[string]bool{}
	if wildcard(s.typ) && (len(r.names) == 0 || slices.Contains(r.names, "*")) {
		s.wildcard = true
		return fresh
	}
	s.wildcard = false
	now := make(map[string]bool, len(r.names))
	for _, name := range r.names {
		now[name] = true
		if !s.names[name] {
			fresh[name] = true
			delete(s.told, name)
		}
	}
	for name := range s.names {
		if !now[name] {
			delete(s.told, name)
			s.leave(name)
		}
	}
	s.names = now
	return fresh
}

// difference returns what the client lacks, among names (nil: all), and what it holds that is gone.
func (s *subscribed) difference(ctx context.Context, view View, names map[string]bool) (changed []*wire.Resource, removed []string) {
	if s.wildcard && (names == nil || !s.greeted) {
		return s.whole(ctx, view)
	}
	wanted := names
	if wanted == nil || !s.wildcard && len(wanted) > len(s.names) {
		wanted = s.names
	}
	for name := range wanted {
		version, told := s.told[name]
		if !s.names[name] && !s.covers(view, name, told) || names != nil && !names[name] {
			continue
		}
		r := view.Get(ctx, s.typ, name)
		if delete(s.missing, name); r == nil && s.typ == wire.TypeSecret {
			s.missing[name] = true
		}
		switch {
		case r != nil && (!told || version != r.Version):
			changed = append(changed, r)
		case r != nil || s.typ == wire.TypeSecret: // an unreadable Secret: the old one stays
		case told && version != absent || !told && (!s.wildcard || s.partial && s.names[name]):
			removed = append(removed, name)
		}
	}
	slices.SortFunc(changed, func(a, b *wire.Resource) int { return compareNames(a.Name, b.Name) })
	slices.Sort(removed)
	return changed, removed
}

// covers reports whether a name that was not asked for is the client's all the same.
func (s *subscribed) covers(view View, name string, told bool) bool {
	return s.wildcard && (!s.partial || told || view.Includes(s.typ, name))
}

func compareNames(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func (s *subscribed) whole(ctx context.Context, view View) (changed []*wire.Resource, removed []string) {
	all := view.All(s.typ)
	live := make(map[string]bool, len(all))
	if s.partial {
		all, removed = s.besides(ctx, view, all)
	}
	for _, r := range all {
		live[r.Name] = true
		if s.told[r.Name] != r.Version {
			changed = append(changed, r)
		}
	}
	for name, version := range s.told {
		if !live[name] && version != absent {
			removed = append(removed, name)
		}
	}
	slices.Sort(removed)
	return changed, removed
}

// besides adds what was asked for by name to what is the client's unasked, and returns the names of which it is to be told that there is
// nothing.
func (s *subscribed) besides(ctx context.Context, view View, all []*wire.Resource) (both []*wire.Resource, removed []string) {
	both = slices.Clip(all)
	for name := range s.names {
		r := view.Get(ctx, s.typ, name)
		if _, told := s.told[name]; r == nil && !told {
			removed = append(removed, name)
		}
		if r != nil && !view.Includes(s.typ, name) {
			both = append(both, r)
		}
	}
	slices.SortFunc(both, func(a, b *wire.Resource) int { return compareNames(a.Name, b.Name) })
	return both, removed
}

// sent notes what the client was told.
func (s *subscribed) sent(changed []*wire.Resource, removed []string) {
	for _, r := range changed {
		s.told[r.Name] = r.Version
	}
	for _, name := range removed {
		if s.wildcard && !(s.partial && s.names[name]) {
			delete(s.told, name)
		} else {
			s.told[name] = absent
		}
	}
}

// everything returns all that a state-of-the-world client is to hold of listeners or clusters: of these, what a response lacks is gone.
func (s *subscribed) everything(ctx context.Context, view View) []*wire.Resource {
	if s.wildcard {
		return view.All(s.typ)
	}
	var out []*wire.Resource
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		if r := view.Get(ctx, s.typ, name); r != nil {
			out = append(out, r)
		}
	}
	return out
}
