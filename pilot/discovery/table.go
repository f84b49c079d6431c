package discovery

import (
	"hash/maphash"
	"maps"
	"runtime"
	"sync"
	"weak"
)

// table is names with a text each: what a client asks for, or which versions it holds. It is immutable.
type table struct {
	of      *tables
	sum     sum
	entries map[string]string
}

// sum stands for the content of a table. It is of 128 bits and begins with secrets of this process, so that no two contents have the same.
type sum [2]uint64

// tables keep those of equal content one. A mesh's proxies mostly ask for the same and hold the same: a thousand of them share what each would
// otherwise remember for itself. What nobody has any more is forgotten.
type tables struct {
	seeds [2]maphash.Seed

	mu    sync.Mutex
	known map[sum]weak.Pointer[table]
}

func newTables() *tables {
	return &tables{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, known: map[sum]weak.Pointer[table]{}}
}

// empty returns a table of nothing.
func (t *tables) empty() *table { return &table{of: t} }

// get returns the text of a name; false: there is no such name.
func (t *table) get(name string) (text string, has bool) {
	text, has = t.entries[name]
	return text, has
}

func (t *table) has(name string) bool {
	_, has := t.entries[name]
	return has
}

// with returns the table with other entries, of which each name is mentioned once: some set, some dropped.
func (t *table) with(set map[string]string, drop []string) *table {
	next := t.sum
	for name, text := range set {
		old, had := t.entries[name]
		if had && old == text {
			continue
		}
		if had {
			t.of.toggle(&next, name, old)
		}
		t.of.toggle(&next, name, text)
	}
	for _, name := range drop {
		if old, had := t.entries[name]; had {
			t.of.toggle(&next, name, old)
		}
	}
	if next == t.sum {
		return t
	}
	if next == (sum{}) {
		return t.of.empty()
	}
	return t.of.find(next, func() map[string]string {
		entries := make(map[string]string, len(t.entries)+len(set))
		maps.Copy(entries, t.entries)
		maps.Copy(entries, set)
		for _, name := range drop {
			delete(entries, name)
		}
		return entries
	})
}

// toggle adds an entry to a sum, or takes it out.
func (t *tables) toggle(s *sum, name, text string) {
	for i := range s {
		var h maphash.Hash
		h.SetSeed(t.seeds[i])
		h.WriteString(name)
		h.WriteByte(0) // no name and no version has one
		h.WriteString(text)
		s[i] ^= h.Sum64()
	}
}

// find returns the table of a sum, which is made if there is none.
func (t *tables) find(s sum, entries func() map[string]string) *table {
	t.mu.Lock()
	found := t.known[s].Value()
	t.mu.Unlock()
	if found != nil {
		return found
	}
	made := &table{of: t, sum: s, entries: entries()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found := t.known[s].Value(); found != nil { // another stream was faster
		return found
	}
	t.known[s] = weak.Make(made)
	runtime.AddCleanup(made, t.forget, s)
	return made
}

// forget drops what is known under a sum, unless somebody has made it again.
func (t *tables) forget(s sum) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[s].Value() == nil {
		delete(t.known, s)
	}
}
