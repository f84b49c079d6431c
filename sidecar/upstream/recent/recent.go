// Package recent counts what began lately, in constant memory and without locks. It reads no clock: whoever counts says when.
package recent

import (
	"math"
	"sync/atomic"
	"time"
)

// parts is in how many pieces an interval is counted; what began longer ago than the interval counts for one piece more at most.
const parts = 16

// Count is what began in the last interval. The zero value has counted nothing.
type Count struct {
	// pieces are one interval and the piece that is being counted: the piece's number in the upper half, what began in it in the lower one.
	pieces [parts + 1]atomic.Uint64
}

// Add counts one that begins at a time.
func (c *Count) Add(at time.Time, interval time.Duration) {
	number := piece(at, interval)
	p := &c.pieces[number%uint32(len(c.pieces))]
	for {
		old := p.Load()
		next := uint64(number)<<32 | 1
		if uint32(old>>32) == number {
			if uint32(old) == math.MaxUint32 {
				return
			}
			next = old + 1
		}
		if p.CompareAndSwap(old, next) {
			return
		}
	}
}

// Within is how many began in the interval before a time.
func (c *Count) Within(at time.Time, interval time.Duration) (n int64) {
	now := piece(at, interval)
	for i := range c.pieces {
		if v := c.pieces[i].Load(); now-uint32(v>>32) <= parts {
			n += int64(uint32(v))
		}
	}
	return n
}

// piece numbers the pieces of time.
func piece(at time.Time, interval time.Duration) uint32 {
	return uint32(at.UnixNano() / int64(max(interval/parts, 1)))
}
