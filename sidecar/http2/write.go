package http2

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// writable returns why a writer need not wait. The lock is held.
func (st *stream) writable() error {
	switch {
	case st.wrErr != nil:
		return st.wrErr
	case st.c.cause != nil:
		return exchange.ErrReset
	case st.expired:
		return exchange.ErrTimeout
	case st.sendEnd:
		return exchange.ErrAborted
	}
	return nil
}

// admit waits until a head may be queued: the socket keeps up with what is written. The lock is held.
func (st *stream) admit() error {
	for {
		if err := st.writable(); err != nil {
			return err
		}
		if st.c.backlog() < maxQueued {
			return nil
		}
		st.block()
	}
}

// block waits for room or window. The lock is held.
func (st *stream) block() {
	c := st.c
	c.wake()
	if !st.queued {
		st.queued = true
		c.blocked = append(c.blocked, st)
	}
	st.wr.Wait()
}

// writeBlock queues a header block. The lock is held, and was since the block was encoded.
func (st *stream) writeBlock(block []byte, end bool) {
	c := st.c
	b := c.buf()
	*b = appendBlock(*b, st.id, block, end, c.sendFrame)
	if end {
		st.sendEnd = true
		c.wake()
	}
}

// writeBody queues p as window and room allow.
func (st *stream) writeBody(p []byte, end bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 && !end {
		return nil
	}
	for {
		if err := st.writable(); err != nil {
			st.stalled = time.Time{}
			return err
		}
		n := st.room(len(p))
		if n == 0 && len(p) > 0 {
			st.stall()
			st.block()
			continue
		}
		st.stalled = time.Time{}
		b := c.buf()
		*b = appendData(*b, st.id, p[:n], end && n == len(p))
		st.sendWindow -= int64(n)
		c.sendWindow -= int64(n)
		c.grace = min(c.grace+graceFrames, maxGrace)
		if p = p[n:]; len(p) == 0 {
			break
		}
	}
	if end {
		st.sendEnd = true
	}
	if end || c.backlog() >= maxQueued/2 {
		c.wake()
	}
	return nil
}

// stall notes since when the peer gives no window. The lock is held.
func (st *stream) stall() {
	if st.stalled.IsZero() && (st.sendWindow <= 0 || st.c.sendWindow <= 0) {
		st.stalled = st.c.now()
	}
}

// room returns how many of n bytes fit into one DATA frame now.
func (st *stream) room(n int) int {
	c := st.c
	if c.backlog() >= maxQueued {
		return 0
	}
	w := min(int64(n), st.sendWindow, c.sendWindow, int64(c.sendFrame))
	return int(max(w, 0))
}

// flushOut has what was written sent.
func (st *stream) flushOut() error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if err := st.wrErr; err != nil {
		return err
	}
	st.c.wake()
	return nil
}
