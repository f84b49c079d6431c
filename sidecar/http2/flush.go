package http2

import (
	"errors"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// buf returns the write buffer to append to. The lock is held.
func (c *conn) buf() *[]byte {
	if c.out == nil {
		c.out = c.mem.buffer()
	}
	return c.out
}

// backlog returns how many bytes wait to be written.
func (c *conn) backlog() int {
	if c.out == nil {
		return 0
	}
	return len(*c.out)
}

// wake has what is in the buffer written soon. The lock is held.
func (c *conn) wake() {
	if c.flushing || c.backlog() == 0 && !c.closing {
		return
	}
	c.flushing = true
	go c.flushFn()
}

// flush writes until the buffer is empty. It yields once before: what other streams have to say then goes into the
// same write.
func (c *conn) flush() {
	defer c.guard()
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.backlog() > 0 && !c.shutDown {
		buf := c.out
		c.out, c.spare = c.spare, nil
		c.queued += int64(len(*buf))
		c.unblock()
		err := c.write(*buf)
		*buf = (*buf)[:0]
		c.spare = buf
		if err != nil {
			c.die(http2.ErrCodeNo, "", err)
			c.shut()
		}
	}
	c.mem.release(c.out)
	c.mem.release(c.spare)
	c.out, c.spare = nil, nil
	c.flushing = false
	if c.closing {
		c.linger()
	}
}

// write carries p to the socket for as long as that takes some of it. The lock is held, but not while the socket takes.
func (c *conn) write(p []byte) error {
	c.sent += int64(len(p)) // the peer may have any of it before Write returns
	for len(p) > 0 {
		piece := p
		if !c.plain {
			piece = p[:min(len(p), pieceSize)]
		}
		c.extend()
		c.writing = c.now()
		n, err := c.put(piece)
		c.writing = time.Time{}
		p = p[n:]
		if err != nil && (n == 0 || !c.plain || c.closing || !errors.Is(err, os.ErrDeadlineExceeded)) {
			c.sent -= int64(len(p))
			return err
		}
	}
	return nil
}

// put lets the lock, which is held, go while it writes.
func (c *conn) put(p []byte) (int, error) {
	c.mu.Unlock()
	defer c.mu.Lock()
	return c.nc.Write(p)
}

// plain says whether a write that ran into its deadline can be gone on with: to a socket, but not through TLS, whose state is broken then.
func plain(nc net.Conn) bool {
	if p, ok := nc.(*peeked); ok {
		nc = p.Conn
	}
	_, ok := nc.(sock.Socket)
	return ok
}

// extend moves the write deadline ahead, now and then, if there is one. The lock is held.
func (c *conn) extend() {
	stall := c.lim.stall
	if c.closing || stall == 0 {
		return
	}
	if now := time.Now(); c.writeBy.Sub(now) < stall {
		c.writeBy = now.Add(stall + stall/2)
		_ = c.nc.SetWriteDeadline(c.writeBy)
	}
}

// linger closes the socket a moment later, so that the peer can read our last words before it notices. The lock is held.
func (c *conn) linger() {
	if c.shutDown {
		return
	}
	time.AfterFunc(lingering, func() {
		defer c.guard()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.shut()
	})
}

// position returns where the next byte put into the buffer will stand. The lock is held.
func (c *conn) position() int64 { return c.queued + int64(c.backlog()) }

// unblock lets every writer that waits for room or window look again. The lock is held.
func (c *conn) unblock() {
	for i, st := range c.blocked {
		st.queued = false
		st.wr.Broadcast()
		c.blocked[i] = nil
	}
	c.blocked = c.blocked[:0]
}
