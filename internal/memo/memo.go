// Package memo remembers the results of pure functions across snapshots and forgets what the last snapshot did not use. Publish
// and compile use it, and translate for what is made of several objects. It never expires by time.
package memo

// Memo maps comparable inputs to the value that a pure function makes of them. It is used by one goroutine at a time.
type Memo[K comparable, V any] struct {
	last, now    map[K]V
	hits, misses int
}

// New returns an empty Memo.
func New[K comparable, V any]() *Memo[K, V] {
	return &Memo[K, V]{now: map[K]V{}}
}

// Get returns what build made of k, now or in the round before.
func (m *Memo[K, V]) Get(k K, build func(K) V) V {
	if v, ok := m.now[k]; ok {
		m.hits++
		return v
	}
	v, ok := m.last[k]
	if ok {
		m.hits++
	} else {
		m.misses++
		v = build(k)
	}
	m.now[k] = v
	return v
}

// Round ends a snapshot: what was not asked for since the last Round is forgotten. It returns how often Get found a
// remembered value and how often it had to build one.
func (m *Memo[K, V]) Round() (hits, misses int) {
	hits, misses = m.hits, m.misses
	m.last, m.now = m.now, make(map[K]V, len(m.now))
	m.hits, m.misses = 0, 0
	return hits, misses
}
