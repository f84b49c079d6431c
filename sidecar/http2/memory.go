package http2

import (
	"sync"
	"time"
)

const (
	smallChunk = 2 << 10
	largeChunk = frameSize
	keepBuffer = 128 << 10 // larger write buffers are not kept
)

// memory is what connections of one side share: an idle connection holds next to nothing of its own.
type memory struct {
	small, large sync.Pool // *chunk
	buffers      sync.Pool // *[]byte, for writing
	inputs       sync.Pool // *[largeInput]byte
	streams      sync.Pool // *serverStream or *clientStream
	full         func() bool
}

// late says whether a peer that has taken nothing since a time, zero: it has taken all, is to be given up by now. patience is how long it may take; 0:
// for ever.
func (m *memory) late(since, now time.Time, patience time.Duration) bool {
	if m.full != nil && m.full() && (patience == 0 || patience > pressedStall) {
		patience = pressedStall
	}
	return patience > 0 && !since.IsZero() && now.Sub(since) >= patience
}

// chunk is a piece of a body that has arrived; [r:w] is unread.
type chunk struct {
	buf  []byte
	r, w int
	next *chunk
}

// chunk returns an empty chunk for at least n bytes.
func (m *memory) chunk(n int) *chunk {
	pool, size := &m.large, largeChunk
	if n <= smallChunk {
		pool, size = &m.small, smallChunk
	}
	if c, _ := pool.Get().(*chunk); c != nil {
		return c
	}
	return &chunk{buf: make([]byte, size)}
}

func (m *memory) free(c *chunk) {
	c.r, c.w, c.next = 0, 0, nil
	if len(c.buf) == smallChunk {
		m.small.Put(c)
		return
	}
	m.large.Put(c)
}

func (m *memory) buffer() *[]byte {
	if b, _ := m.buffers.Get().(*[]byte); b != nil {
		return b
	}
	b := make([]byte, 0, 4<<10)
	return &b
}

func (m *memory) release(b *[]byte) {
	if b == nil || cap(*b) > keepBuffer {
		return
	}
	*b = (*b)[:0]
	m.buffers.Put(b)
}

// inbox is the unread part of a body.
type inbox struct {
	first, last *chunk
	lent        *chunk // taken out by take, readable until the next take
}

// put adds a filled chunk. Small pieces join the last chunk where they fit, so that many tiny frames cannot hold much
// memory.
func (b *inbox) put(m *memory, c *chunk) {
	n := c.w - c.r
	if l := b.last; l != nil && n <= len(l.buf)-l.w {
		l.w += copy(l.buf[l.w:], c.buf[c.r:c.w])
		m.free(c)
		return
	}
	if b.last == nil {
		b.first, b.last = c, c
		return
	}
	b.last.next, b.last = c, c
}

// take returns the next piece, nil where there is none.
func (b *inbox) take(m *memory) []byte {
	b.settle(m)
	c := b.first
	if c == nil {
		return nil
	}
	if b.first = c.next; b.first == nil {
		b.last = nil
	}
	b.lent = c
	return c.buf[c.r:c.w]
}

// settle ends the loan of the last take.
func (b *inbox) settle(m *memory) {
	if b.lent != nil {
		m.free(b.lent)
		b.lent = nil
	}
}

// drop empties the inbox and returns how many bytes the peer was not given back: those on loan and those unread.
func (b *inbox) drop(m *memory) (n int) {
	if b.lent != nil {
		n = b.lent.w - b.lent.r
	}
	b.settle(m)
	for c := b.first; c != nil; {
		next := c.next
		n += c.w - c.r
		m.free(c)
		c = next
	}
	b.first, b.last = nil, nil
	return n
}

func (b *inbox) empty() bool { return b.first == nil }

// single says whether everything unread lies in one piece.
func (b *inbox) single() bool { return b.first == b.last }
