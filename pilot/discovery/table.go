package discovery

import (
	"hash/maphash"
	"iter"
	"maps"
	"math/bits"
	"runtime"
	"sync"
	"weak"
)

// table is names with a text each: what a client asks for, or which versions it holds. It is immutable. Its leaves are shared with all tables that
// say the same there, so that what is a client's own costs it one leaf.
type table struct {
	of     *tables
	size   int
	leaves [leaves]*leaf // nil: empty
}

// leaves is how many leaves a table has; a name's hash says which is its.
const leaves = 32

// leaf is part of a table.
type leaf struct {
	sum     sum
	entries map[string]string
}

// text is a name with its text.
type text struct{ name, text string }

// sum stands for the content of a leaf. It is of 128 bits and made with secrets of this process, so that no two contents have the same.
type sum [2]uint64

// tables keep those of equal content one. A mesh's proxies mostly ask for the same and hold the same: a thousand of them share what each would
// otherwise remember for itself. What nobody has any more is forgotten.
type tables struct {
	names, texts [2]maphash.Seed

	mu    sync.Mutex
	known map[sum]weak.Pointer[leaf]
}

func newTables() *tables {
	t := &tables{known: map[sum]weak.Pointer[leaf]{}}
	for i := range t.names {
		t.names[i], t.texts[i] = maphash.MakeSeed(), maphash.MakeSeed()
	}
	return t
}

// empty returns a table of nothing.
func (t *tables) empty() *table { return &table{of: t} }

// at is the leaf of a name.
func (t *tables) at(name string) int { return int(maphash.String(t.names[0], name) % leaves) }

// get returns the text of a name; false: there is no such name.
func (t *table) get(name string) (text string, has bool) {
	if t.size == 0 {
		return "", false
	}
	return t.leaves[t.of.at(name)].get(name)
}

func (t *table) has(name string) bool {
	_, has := t.get(name)
	return has
}

func (l *leaf) get(name string) (text string, has bool) {
	if l == nil {
		return "", false
	}
	text, has = l.entries[name]
	return text, has
}

// all are the entries, in no order.
func (t *table) all() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, l := range t.leaves {
			if l == nil {
				continue
			}
			for name, text := range l.entries {
				if !yield(name, text) {
					return
				}
			}
		}
	}
}

// with returns the table with other entries, of which each name is mentioned once: some set, some dropped.
func (t *table) with(set []text, drop []string) *table {
	if len(set)+len(drop) == 0 {
		return t
	}
	next := *t
	var sums [leaves]sum
	for i, l := range t.leaves {
		if l != nil {
			sums[i] = l.sum
		}
	}
	for _, e := range set {
		i := t.of.at(e.name)
		old, had := t.leaves[i].get(e.name)
		if had && old == e.text {
			continue
		}
		if t.of.toggle(&sums[i], e.name, e.text); had {
			t.of.toggle(&sums[i], e.name, old)
		} else {
			next.size++
		}
	}
	for _, name := range drop {
		i := t.of.at(name)
		if old, had := t.leaves[i].get(name); had {
			t.of.toggle(&sums[i], name, old)
			next.size--
		}
	}
	for i, s := range sums {
		switch l := t.leaves[i]; {
		case s == sum{}:
			next.leaves[i] = nil
		case l == nil || l.sum != s:
			next.leaves[i] = t.of.find(s, func() map[string]string { return t.edited(i, set, drop) })
		}
	}
	return &next
}

// edited are the entries of a leaf after changes, of which some are for others.
func (t *table) edited(i int, set []text, drop []string) map[string]string {
	out := map[string]string{}
	if l := t.leaves[i]; l != nil {
		out = maps.Clone(l.entries)
	}
	for _, e := range set {
		if t.of.at(e.name) == i {
			out[e.name] = e.text
		}
	}
	for _, name := range drop {
		delete(out, name)
	}
	return out
}

// toggle adds an entry to a sum, or takes it out.
func (t *tables) toggle(s *sum, name, text string) {
	for i := range s {
		s[i] ^= mixed(maphash.String(t.names[i], name) + bits.RotateLeft64(maphash.String(t.texts[i], text), 32))
	}
}

// mixed has every bit of the sum of two hashes depend on all of both (the finalizer of MurmurHash3).
func mixed(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// find returns the leaf of a sum, which is made if there is none.
func (t *tables) find(s sum, entries func() map[string]string) *leaf {
	t.mu.Lock()
	found := t.known[s].Value()
	t.mu.Unlock()
	if found != nil {
		return found
	}
	made := &leaf{sum: s, entries: entries()}
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
