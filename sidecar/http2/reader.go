package http2

import (
	"errors"
	"io"
	"math"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// read handles frames until the connection ends, and returns why.
func (c *conn) read() error {
	defer c.br.release()
	for {
		if c.br.Buffered() < frameHead {
			c.side.pause()
		}
		fh, err := c.fr.ReadFrameHeader()
		if err != nil {
			return framing(err)
		}
		if c.br.Buffered() < int(fh.Length) {
			c.side.pause()
		}
		if fh.Type == http2.FrameData && !fh.Flags.Has(http2.FlagDataPadded) {
			err = c.readData(fh)
		} else {
			err = c.readFrame(fh)
		}
		if err != nil {
			return err
		}
	}
}

// framing gives the Framer's errors their code.
func framing(err error) error {
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return connError{http2.ErrCodeFrameSize, "frame too large"}
	}
	if ce, ok := err.(http2.ConnectionError); ok {
		return connError{http2.ErrCode(ce), "malformed frame"}
	}
	return err
}

// readData reads a DATA frame's payload straight into the memory that its reader will see.
func (c *conn) readData(fh http2.FrameHeader) error {
	if fh.StreamID == 0 {
		return violation("DATA on stream 0")
	}
	n := int(fh.Length)
	end := fh.Flags.Has(http2.FlagDataEndStream)
	if n == 0 {
		return c.data(fh.StreamID, nil, 0, end)
	}
	ch := c.mem.chunk(n)
	if _, err := io.ReadFull(c.br, ch.buf[:n]); err != nil {
		c.mem.free(ch)
		return err
	}
	ch.w = n
	return c.data(fh.StreamID, ch, n, end)
}

func (c *conn) readFrame(fh http2.FrameHeader) error {
	f, err := c.fr.ReadFrameForHeader(fh)
	if se, ok := err.(http2.StreamError); ok && fh.Type != http2.FrameHeaders {
		return c.streamError(se.StreamID, se.Code)
	} else if ok {
		return violation("malformed HEADERS") // its block was not decoded: the HPACK tables are out of step
	}
	if err != nil {
		return framing(err)
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.paddedData(f)
	case *http2.HeadersFrame:
		return c.headers(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.RSTStreamFrame:
		return c.peerReset(f)
	case *http2.GoAwayFrame:
		return c.goAway(f)
	case *http2.PushPromiseFrame:
		return violation("PUSH_PROMISE")
	}
	return c.spend(1, controlFlood) // PRIORITY, PRIORITY_UPDATE and what we do not know
}

// spend charges the peer for a frame that brings nothing. The kind that exhausts the allowance, which all share, names the flood.
func (c *conn) spend(n int, flooding string) error {
	if !c.chatter.spend(n, c.now) {
		return flood(flooding)
	}
	return nil
}

// tolerate charges the peer for a frame unless something we sent may have called for it. The lock is held.
func (c *conn) tolerate(flooding string) error {
	if c.grace > 0 {
		c.grace--
		return nil
	}
	return c.spend(1, flooding)
}

// waste charges the peer for a stream that it opened for nothing.
func (c *conn) waste(n int) error {
	if !c.churn.spend(n, c.now) {
		return flood(rapidReset)
	}
	return nil
}

func (c *conn) paddedData(f *http2.DataFrame) error {
	var ch *chunk
	if p := f.Data(); len(p) > 0 {
		ch = c.mem.chunk(len(p))
		ch.w = copy(ch.buf, p)
	}
	return c.data(f.StreamID, ch, int(f.Length), f.StreamEnded())
}

// data gives a stream a piece of its body; size is what counts towards the windows.
func (c *conn) data(id uint32, ch *chunk, size int, end bool) error {
	if ch == nil && !end {
		if err := c.spend(10, emptyDataFlood); err != nil {
			return err
		}
	} else {
		c.chatter.earn(10)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got++
	if c.recvWindow -= int64(size); c.recvWindow < 0 {
		return connError{http2.ErrCodeFlowControl, "connection window exceeded"}
	}
	st := c.streams[id]
	if st == nil || st.rdErr != nil || st.recvEnd || !st.final {
		return c.strayData(id, st, ch, size)
	}
	n := 0
	if ch != nil {
		n = ch.w
		st.in.put(c.mem, ch)
	}
	st.recvWindow -= int64(size)
	st.received += int64(n)
	st.recvEnd = end
	switch {
	case st.recvWindow < 0:
		return c.broken(st, http2.ErrCodeFlowControl)
	case st.declared >= 0 && (st.received > st.declared || end && st.received != st.declared):
		return c.broken(st, http2.ErrCodeProtocol)
	}
	if size > n {
		st.credit(size - n)
	}
	st.rd.Broadcast()
	return nil
}

// strayData gives back what came for a stream that does not want it. The lock is held.
func (c *conn) strayData(id uint32, st *stream, ch *chunk, size int) error {
	if ch != nil {
		c.mem.free(ch)
	}
	c.credit(size)
	if !c.side.known(id) {
		return violation("DATA on an idle stream")
	}
	if st == nil {
		return c.side.closed(id)
	}
	if st.rdErr != nil {
		if st.soft || st.quit {
			return connError{http2.ErrCodeStreamClosed, "DATA after RST_STREAM"}
		}
		return nil // sent before the peer knew
	}
	return c.afterEnd(st)
}

// afterEnd judges a frame that its peer had no right to send after it had ended the stream. Where we have ended it too, it is closed, though the
// exchange on it may not be done with yet. The lock is held.
func (c *conn) afterEnd(st *stream) error {
	if st.owner != nil && st.sendEnd {
		return connError{http2.ErrCodeStreamClosed, "frame on a closed stream"}
	}
	return c.broken(st, http2.ErrCodeStreamClosed)
}

// broken resets a stream whose peer broke the rules. The lock is held.
func (c *conn) broken(st *stream, code http2.ErrCode) error {
	st.recvEnd = false // whatever it was, it is not complete
	st.blame(byCode(code))
	c.reset(st, code, exchange.ErrProtocol)
	c.side.gone(st)
	return c.waste(5)
}

// streamError resets a stream that may or may not be open.
func (c *conn) streamError(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.side.known(id) {
		return violation("frame on an idle stream")
	}
	if st := c.streams[id]; st != nil {
		return c.broken(st, code)
	}
	return c.spend(10, controlFlood)
}

// windowUpdate lets us send more.
func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.tolerate(windowUpdateFlood); err != nil {
		return err
	}
	if f.StreamID == 0 {
		if c.sendWindow += int64(f.Increment); c.sendWindow > math.MaxInt32 {
			return connError{http2.ErrCodeFlowControl, "connection window too large"}
		}
		c.unblock()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		if !c.side.known(f.StreamID) {
			return violation("WINDOW_UPDATE on an idle stream")
		}
		return nil
	}
	if st.sendWindow += int64(f.Increment); st.sendWindow > math.MaxInt32 {
		return c.broken(st, http2.ErrCodeFlowControl)
	}
	st.stalled = time.Time{}
	st.wr.Broadcast()
	return nil
}

// peerReset ends a stream at its peer's wish.
func (c *conn) peerReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[f.StreamID]
	if st == nil {
		if !c.side.known(f.StreamID) {
			return violation("RST_STREAM on an idle stream")
		}
		return c.spend(5, controlFlood)
	}
	st.quit = st.owner != nil
	premature := st.owner != nil && !st.sendEnd && c.now().Sub(st.born) < hasty
	st.lost(resetBy(f.ErrCode))
	c.side.gone(st)
	if premature {
		return c.waste(1)
	}
	return nil
}

// resetBy is the error of a stream that its peer has reset.
func resetBy(code http2.ErrCode) error {
	switch code {
	case http2.ErrCodeRefusedStream:
		return exchange.ErrRefused
	case http2.ErrCodeProtocol:
		return exchange.ErrStreamProtocol
	}
	return exchange.ErrStreamReset
}
