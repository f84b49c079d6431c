package discovery

import (
	"hash/maphash"
	"iter"
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

// leaf is part of a table. Only one of many entries is shared: what is small is not worth being looked for.
type leaf struct {
	sum  sum
	few  []text
	many map[string]string // instead of few
}

// fewEntries is how many entries a leaf has that is not shared.
const fewEntries = 8

// text is a name with its text.
type text struct{ name, text string }

// sum stands for the content of a leaf. It is of 128 bits and made with secrets of this process, so that no two contents have the same.
type sum [2]uint64

// tables keep those of equal content one. A mesh's proxies mostly ask for the same and hold the same: a thousand of them share what each would
// otherwise remember for itself. What nobody has any more is forgotten.
type tables struct {
	names, texts [2]maphash.Seed
	few          int // fewEntries

	mu    sync.Mutex
	known map[sum]weak.Pointer[leaf]
}

func newTables() *tables {
	t := &tables{few: fewEntries, known: map[sum]weak.Pointer[leaf]{}}
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
	for _, e := range l.few {
		if e.name == name {
			return e.text, true
		}
	}
	text, has = l.many[name]
	return text, has
}

func (l *leaf) size() int {
	if l == nil {
		return 0
	}
	return len(l.few) + len(l.many)
}

// all are the entries, in no order.
func (t *table) all() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, l := range t.leaves {
			for name, text := range l.all {
				if !yield(name, text) {
					return
				}
			}
		}
	}
}

func (l *leaf) all(yield func(string, string) bool) {
	if l == nil {
		return
	}
	for _, e := range l.few {
		if !yield(e.name, e.text) {
			return
		}
	}
	for name, text := range l.many {
		if !yield(name, text) {
			return
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
	var sizes [leaves]int
	for i, l := range t.leaves {
		if sizes[i] = l.size(); l != nil {
			sums[i] = l.sum
		}
	}
	places := make([]int8, 0, len(set)+len(drop))
	for _, e := range set {
		i := t.of.at(e.name)
		places = append(places, int8(i))
		old, had := t.leaves[i].get(e.name)
		if had && old == e.text {
			continue
		}
		if t.of.toggle(&sums[i], e.name, e.text); had {
			t.of.toggle(&sums[i], e.name, old)
		} else {
			sizes[i]++
		}
	}
	for _, name := range drop {
		i := t.of.at(name)
		places = append(places, int8(i))
		if old, had := t.leaves[i].get(name); had {
			t.of.toggle(&sums[i], name, old)
			sizes[i]--
		}
	}
	next.size = 0
	for i, s := range sums {
		next.size += sizes[i]
		edited := func() *leaf { return t.edited(i, s, sizes[i], change{set, drop, places}) }
		switch l := t.leaves[i]; {
		case sizes[i] == 0:
			next.leaves[i] = nil
		case l != nil && l.sum == s:
		case sizes[i] <= t.of.few:
			next.leaves[i] = edited()
		default:
			next.leaves[i] = t.of.find(s, edited)
		}
	}
	return &next
}

// change is what with is asked for, and to which leaves it belongs.
type change struct {
	set    []text
	drop   []string
	places []int8 // of set, then of drop
}

// edited is a leaf after changes, of which some are for others.
func (t *table) edited(i int, s sum, size int, c change) *leaf {
	entries := make(map[string]string, size)
	t.leaves[i].all(func(name, text string) bool {
		entries[name] = text
		return true
	})
	for k, e := range c.set {
		if int(c.places[k]) == i {
			entries[e.name] = e.text
		}
	}
	for k, name := range c.drop {
		if int(c.places[len(c.set)+k]) == i {
			delete(entries, name)
		}
	}
	out := &leaf{sum: s}
	if size > t.of.few {
		out.many = entries
		return out
	}
	out.few = make([]text, 0, size)
	for name, value := range entries {
		out.few = append(out.few, text{name, value})
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
func (t *tables) find(s sum, edited func() *leaf) *leaf {
	t.mu.Lock()
	found := t.known[s].Value()
	t.mu.Unlock()
	if found != nil {
		return found
	}
	made := edited()
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
