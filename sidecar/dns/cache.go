package dns

import (
	"container/list"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of what is remembered: together some megabytes at most.
const (
	maxCached      = 2048
	maxCachedBytes = 4 << 10 // one answer
)

// cacheKey is what an answer depends on.
type cacheKey struct {
	name                        string
	typ                         dnsmessage.Type
	class                       dnsmessage.Class
	recursion, checking, authed bool // RD, CD, AD
	edns, secure                bool
}

func (q *query) key() cacheKey {
	return cacheKey{
		name: q.name, typ: q.question.Type, class: q.question.Class, recursion: q.header.RecursionDesired, checking: q.header.CheckingDisabled,
		authed: q.header.AuthenticData, edns: q.edns, secure: q.secure,
	}
}

// cached is one remembered answer.
type cached struct {
	key       cacheKey
	reply     []byte
	ttls      []int // offsets in reply
	addresses []int // likewise, of those that the question is for
	at, until time.Time
}

// cache remembers forwarded answers. Full, it forgets the one that was not asked for the longest.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]*list.Element
	order   *list.List // the last one asked for comes first
}

func newCache() *cache { return &cache{entries: map[cacheKey]*list.Element{}, order: list.New()} }

// get returns a copy of what is remembered for q, aged, with the identifier and the spelling of its question. turn rotates its addresses.
func (c *cache) get(q *query, now time.Time, turn uint32) []byte {
	if q.options {
		return nil
	}
	c.mu.Lock()
	e := c.entries[q.key()]
	if e == nil {
		c.mu.Unlock()
		return nil
	}
	entry := e.Value.(*cached)
	if !now.Before(entry.until) {
		c.drop(e)
		c.mu.Unlock()
		return nil
	}
	c.order.MoveToFront(e)
	c.mu.Unlock()
	age := uint32(now.Sub(entry.at) / time.Second)
	out := slices.Clone(entry.reply)
	for _, at := range entry.ttls {
		ttl := binary.BigEndian.Uint32(out[at:])
		binary.BigEndian.PutUint32(out[at:], ttl-min(ttl, age))
	}
	entry.rotate(out, turn)
	q.readdress(out)
	return out
}

// rotate has a copy of the answer begin with another address.
func (e *cached) rotate(out []byte, turn uint32) {
	size, n := addressSize(e.key.typ), len(e.addresses)
	for i, at := range e.addresses {
		from := e.addresses[(i+int(turn%uint32(n)))%n]
		copy(out[at:at+size], e.reply[from:])
	}
}

// addressSize is how many bytes an address of a type of records has, -1 where they have none.
func addressSize(typ dnsmessage.Type) int {
	switch typ {
	case dnsmessage.TypeA:
		return 4
	case dnsmessage.TypeAAAA:
		return 16
	}
	return -1
}

// readdress gives an answer to the same question the identifier and the spelling of q.
func (q *query) readdress(reply []byte) {
	binary.BigEndian.PutUint16(reply, q.header.ID)
	copy(reply[headerSize:q.end], q.raw[headerSize:q.end])
}

// put remembers an answer, if it may be.
func (c *cache) put(q *query, reply []byte, now time.Time) {
	if q.options || len(reply) > maxCachedBytes {
		return
	}
	all, err := resources(reply)
	if err != nil {
		return
	}
	lasts := life(reply, all)
	if lasts <= 0 {
		return
	}
	entry := &cached{key: q.key(), reply: slices.Clone(reply), at: now, until: now.Add(lasts)}
	for _, r := range all {
		if r.typ != dnsmessage.TypeOPT {
			entry.ttls = append(entry.ttls, r.ttlAt)
		}
		if r.section == 0 && r.typ == q.question.Type && len(r.data) == addressSize(r.typ) {
			entry.addresses = append(entry.addresses, r.ttlAt+6)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[entry.key]; old != nil {
		c.drop(old)
	}
	c.entries[entry.key] = c.order.PushFront(entry)
	if c.order.Len() > maxCached {
		c.drop(c.order.Back())
	}
}

// drop forgets; c.mu is held.
func (c *cache) drop(e *list.Element) {
	delete(c.entries, e.Value.(*cached).key)
	c.order.Remove(e)
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
