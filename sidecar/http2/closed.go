package http2

import "golang.org/x/net/http2"

// maxCut is how many streams that we ended early are remembered: their client may still be sending.
const maxCut = 256

// cuts remembers which streams we ended before their client did. Frames on any other closed stream break the protocol.
type cuts struct {
	ids   map[uint32]struct{}
	order []uint32 // a ring once it is full
	next  int
	floor uint32 // below, everything counts as cut
}

func (c *cuts) add(id uint32) {
	if c.ids == nil {
		c.ids = map[uint32]struct{}{}
	}
	c.ids[id] = struct{}{}
	if len(c.order) < maxCut {
		c.order = append(c.order, id)
		return
	}
	old := c.order[c.next]
	delete(c.ids, old)
	c.floor = max(c.floor, old)
	c.order[c.next] = id
	c.next = (c.next + 1) % maxCut
}

func (c *cuts) has(id uint32) bool {
	_, ok := c.ids[id]
	return ok || id <= c.floor
}

// closed judges a DATA or HEADERS frame on a stream that is not open any more. The lock is held.
func (sc *serverConn) closed(id uint32) error {
	if id > sc.last || sc.cut.has(id) {
		return nil // it was sent before the client knew
	}
	return connError{http2.ErrCodeStreamClosed, "frame on a closed stream"}
}

// closed allows everything: servers that go on after we gave up are common.
func (cc *clientConn) closed(uint32) error { return nil }

// crowded says whether one more stream would be too many. Streams count until their handlers end, so that resetting them
// makes no room for more; but those that the client rightly takes for closed get some grace.
func (sc *serverConn) crowded() bool {
	n, limit := uint32(len(sc.streams)), sc.lim.streams
	if n < limit {
		return false
	}
	if n >= limit+limit/8 {
		return true
	}
	open := uint32(0)
	for _, st := range sc.streams {
		if !(st.sendEnd && st.recvEnd) && st.rdErr == nil {
			open++
		}
	}
	return open >= limit
}
