package http1

import (
	"io"
	"math"
	"net"
	"time"
)

// lingering is how long a client is read from that still sends after its answer, so that the answer is not lost to a reset: as in Envoy, however much it
// sends.
const lingering = time.Second

// briefly is lingering, and pressedBytes how much is read at most, where memory is full. It is also for how long clients of refused connections are read from:
// few of these are told at a time.
const (
	briefly      = 500 * time.Millisecond
	pressedBytes = 256 << 10
)

// linger reads from the client for a while.
func (c *conn) linger() {
	if c.proxy.Overloaded() {
		discard(c.sess.Conn, briefly, pressedBytes)
		return
	}
	discard(c.sess.Conn, lingering, math.MaxInt64)
}

// discard ends what is sent to conn, and reads from it, so long and so many bytes at most.
func discard(conn net.Conn, most time.Duration, bytes int64) {
	closeWrite(conn)
	_ = conn.SetReadDeadline(time.Now().Add(most))
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, bytes))
}
