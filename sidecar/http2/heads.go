package http2

import (
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http2/block"
)

// headers reads a whole header block, then gives it to its stream.
func (c *conn) headers(f *http2.HeadersFrame) error {
	id, end := f.StreamID, f.StreamEnded()
	c.mu.Lock()
	st := c.streams[id]
	kind := c.side.kind(id, st)
	c.mu.Unlock()
	c.blk.Begin(kind)
	if !c.blk.Write(f.HeaderBlockFragment()) {
		return connError{http2.ErrCodeCompression, "header block"}
	}
	if !f.HeadersEnded() {
		if err := c.continuations(); err != nil {
			return err
		}
	}
	if !c.blk.End() {
		return connError{http2.ErrCodeCompression, "header block"}
	}
	c.chatter.earn(50)
	if st == nil {
		return c.side.fresh(id, c.blk, end)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got++
	if c.streams[id] != st { // it ended while the rest of its block was on the way, and its memory may be another stream's by now
		return c.side.closed(id)
	}
	return c.takeBlock(st, kind, end)
}

// continuations reads the rest of a header block, which must come without delay.
func (c *conn) continuations() error {
	_ = c.nc.SetReadDeadline(c.now().Add(c.lim.block))
	defer func() { _ = c.nc.SetReadDeadline(time.Time{}) }()
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return framing(err)
		}
		cf, ok := f.(*http2.ContinuationFrame)
		if !ok {
			return violation("header block interrupted")
		}
		switch {
		case c.blk.Write(cf.HeaderBlockFragment()):
		case c.blk.Insane():
			return flood(continuationFlood)
		default:
			return connError{http2.ErrCodeCompression, "header block"}
		}
		if cf.HeadersEnded() {
			return nil
		}
	}
}

// takeBlock gives an open stream the block that was just read. The lock is held.
func (c *conn) takeBlock(st *stream, kind block.Kind, end bool) error {
	if st.rdErr != nil {
		if st.soft || st.quit {
			return connError{http2.ErrCodeStreamClosed, "HEADERS after RST_STREAM"}
		}
		return nil
	}
	if st.recvEnd {
		return c.afterEnd(st)
	}
	if c.blk.Verdict != block.Good {
		if c.blk.Verdict == block.TooLarge {
			st.blame(detailsTooLarge)
			c.reset(st, http2.ErrCodeEnhanceYourCalm, exchange.ErrTooLarge)
			c.side.gone(st)
			return nil
		}
		return c.broken(st, http2.ErrCodeProtocol)
	}
	if kind == block.Trailers {
		if !end || st.declared >= 0 && st.received != st.declared {
			return c.broken(st, http2.ErrCodeProtocol)
		}
		st.trailers, c.blk.Head = c.blk.Head, st.trailers
		st.recvEnd = true
		st.rd.Broadcast()
		return nil
	}
	return c.takeHead(st, end)
}

// takeHead gives a client's stream a response head. The lock is held.
func (c *conn) takeHead(st *stream, end bool) error {
	interim := c.blk.Head.Status < 200
	if interim && end {
		return c.broken(st, http2.ErrCodeProtocol)
	}
	if interim {
		if err := c.spend(1, headersFlood); err != nil {
			return err
		}
	} else {
		st.final = true
		st.expect(c.blk.Length, c.blk.Head.Status)
		if end && st.declared > 0 {
			return c.broken(st, http2.ErrCodeProtocol)
		}
		st.recvEnd = end
	}
	if st.headReady && len(st.older) < maxInterim {
		st.older = append(st.older, st.head)
		st.head = exchange.Head{}
	}
	st.head, c.blk.Head = c.blk.Head, st.head
	st.headReady, st.headEnd = true, end
	st.rd.Broadcast()
	return nil
}
