package discovery

import (
	"context"
	"iter"
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
	partial  bool            // wildcard is not for all: others come where they are among names
	names    *table          // that it asks for
	early    map[string]bool // names that count as subscribed before the client asked
	told     *table          // name to version that the client holds, or absent
	missing  map[string]bool // Secrets that cannot be sent
	left     []string        // names that nobody asks for any more, since takeLeft
	nonce    string          // of the last response
	greeted  bool            // whether any response was sent
}

func newSubscribed(typ string, all *tables) *subscribed {
	return &subscribed{typ: typ, names: all.empty(), early: map[string]bool{}, told: all.empty(), missing: map[string]bool{}}
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
	held := make([]text, 0, len(r.held))
	for name, version := range r.held {
		held = append(held, text{name, version})
	}
	s.told = s.told.with(held, nil)
	s.wildcard = wildcard(s.typ) && len(r.subscribe) == 0 && len(r.names) == 0
}

// differ applies a delta request's subscriptions and returns the names to answer.
func (s *subscribed) differ(r *request) map[string]bool {
	s.unsubscribe(r.unsubscribe)
	fresh := make(map[string]bool, len(r.subscribe))
	for _, name := range r.subscribe {
		if name == "*" && wildcard(s.typ) {
			s.wildcard = true
			continue
		}
		if s.early[name] { // the answer is on its way, or there
			delete(s.early, name)
			continue
		}
		fresh[name] = true
	}
	added := make([]text, 0, len(fresh))
	var again []string // asked for anew: it is to be answered whatever was sent before
	for name := range fresh {
		added = append(added, text{name: name})
		if _, held := r.held[name]; !held && s.told.has(name) {
			again = append(again, name)
		}
	}
	s.names, s.told = s.names.with(added, nil), s.told.with(nil, again)
	return fresh
}

func (s *subscribed) unsubscribe(names []string) {
	var gone, forgotten []string
	for _, name := range names {
		if name == "*" {
			s.wildcard = false
			continue
		}
		gone = append(gone, name)
		delete(s.early, name)
		if !s.wildcard || s.partial {
			forgotten = append(forgotten, name)
			s.leave(name)
		}
	}
	s.names, s.told = s.names.with(nil, distinct(gone)), s.told.with(nil, distinct(forgotten))
}

// distinct drops what is there twice.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
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
		if now[name] = true; !s.names.has(name) {
			fresh[name] = true
		}
	}
	var added []text
	var gone, forgotten []string
	for name := range fresh {
		added, forgotten = append(added, text{name: name}), append(forgotten, name)
	}
	for name := range s.names.all() {
		if !now[name] {
			gone, forgotten = append(gone, name), append(forgotten, name)
			s.leave(name)
		}
	}
	s.names, s.told = s.names.with(added, gone), s.told.with(nil, forgotten)
	return fresh
}

// difference returns what the client lacks, among names (nil: all), and what it holds that is gone.
func (s *subscribed) difference(ctx context.Context, view View, names map[string]bool) (changed []*wire.Resource, removed []string) {
	if s.wildcard && (names == nil || !s.greeted) {
		return s.whole(ctx, view)
	}
	for name := range s.among(names) {
		version, told := s.told.get(name)
		if !s.names.has(name) && !s.covers(view, name, told) || names != nil && !names[name] {
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
		case told && version != absent || !told && (!s.wildcard || s.partial && s.names.has(name)):
			removed = append(removed, name)
		}
	}
	slices.SortFunc(changed, func(a, b *wire.Resource) int { return compareNames(a.Name, b.Name) })
	slices.Sort(removed)
	return changed, removed
}

// among are the names to look at: given ones (nil: all), or those that are asked for where these are fewer.
func (s *subscribed) among(names map[string]bool) iter.Seq[string] {
	if names == nil || !s.wildcard && len(names) > s.names.size {
		return keys(s.names.all())
	}
	return maps.Keys(names)
}

func keys(of iter.Seq2[string, string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range of {
			if !yield(name) {
				return
			}
		}
	}
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
		if version, _ := s.told.get(r.Name); version != r.Version {
			changed = append(changed, r)
		}
	}
	for name, version := range s.told.all() {
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
	for name := range s.names.all() {
		r := view.Get(ctx, s.typ, name)
		if r == nil && !s.told.has(name) {
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
	set := make([]text, 0, len(changed))
	var gone []string
	for _, r := range changed {
		set = append(set, text{r.Name, r.Version})
	}
	for _, name := range removed {
		if s.wildcard && !(s.partial && s.names.has(name)) {
			gone = append(gone, name)
		} else {
			set = append(set, text{name, absent})
		}
	}
	s.told = s.told.with(set, gone)
}

// everything returns all that a state-of-the-world client is to hold of listeners or clusters: of these, what a response lacks is gone.
func (s *subscribed) everything(ctx context.Context, view View) []*wire.Resource {
	if s.wildcard {
		return view.All(s.typ)
	}
	var out []*wire.Resource
	for _, name := range slices.Sorted(keys(s.names.all())) {
		if r := view.Get(ctx, s.typ, name); r != nil {
			out = append(out, r)
		}
	}
	return out
}
