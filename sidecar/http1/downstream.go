package http1

import (
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// BodyBuffered returns a short body that has arrived with its head.
func (c *conn) BodyBuffered() (exchange.View, bool) {
	switch {
	case c.body.mode == none:
		c.whole = true
		return nil, true
	case c.body.mode != length || int64(len(c.src.unread())) < c.body.left:
		return nil, false
	}
	p, _, _ := c.body.read()
	c.src.keep = c.src.r // it may be sent again
	c.whole = true
	return p, true
}

// ReadBody reads the next piece of the body, or of the tunnel.
func (c *conn) ReadBody() (exchange.View, bool, error) {
	c.unbind()
	p, end, err := c.body.read()
	if err != nil && c.stopped.Load() {
		err = exchange.ErrAborted
	}
	return p, end, err
}

// unbind takes the read deadline away for as long as a body is read.
func (c *conn) unbind() {
	if c.unbound {
		return
	}
	c.unbound = true
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	if !c.stopped.Load() {
		c.disarm()
	}
}

// StopBody ends a pending ReadBody.
func (c *conn) StopBody() {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	c.stopped.Store(true)
	_ = c.sess.Conn.SetReadDeadline(time.Unix(1, 0))
}

// WriteInterim sends a 1xx response.
func (c *conn) WriteInterim(h *exchange.Head) error {
	if h.Status == 100 {
		c.waiting = false
	}
	c.sink.stall = c.x.Stall
	c.statusLine(h.Status)
	c.sink.fields(h, false)
	c.sink.buf = append(c.sink.buf, "\r\n"...)
	return c.Flush()
}

// WriteHead sends the response's head.
func (c *conn) WriteHead(end bool) error {
	h := &c.x.Response
	if c.waiting || c.sess.Drain.Begun() || c.sess.Old() { // a client that was never told to continue may or may not send the body
		c.closing = true
	}
	if c.orphan || c.x.Outcome == exchange.BadRequest || c.x.Outcome.Late() && c.stopped.Load() { // where such a body ends nobody knows
		c.closing = true
	}
	bodiless := c.head || h.Status == 204 || h.Status == 304
	c.sink.now, c.sink.stall = c.x.FirstByte, c.x.Stall
	declared, ok := c.out.begin(h, end, bodiless)
	if !ok {
		return exchange.ErrProtocol
	}
	c.statusLine(h.Status)
	c.sink.fields(h, h.Status != 204 && h.Status != 101)
	switch {
	case h.Status == 101, c.x.Upgrade != nil && c.x.Request.Method.Is("CONNECT") && h.Status/100 == 2:
		c.tunnel()
	case c.out.mode == chunked && c.f.http10:
		c.out.mode, c.closing = raw, true
	case c.out.mode == chunked:
		c.sink.buf = append(c.sink.buf, "transfer-encoding: chunked\r\n"...)
	case end && !bodiless && !declared:
		c.sink.buf = append(c.sink.buf, "content-length: 0\r\n"...)
	}
	switch {
	case c.out.mode == raw && !c.f.http10:
	case c.closing:
		c.sink.buf = append(c.sink.buf, "connection: close\r\n"...)
	case c.f.http10:
		c.sink.buf = append(c.sink.buf, "connection: keep-alive\r\n"...)
	}
	c.sink.buf = append(c.sink.buf, "\r\n"...)
	if end {
		c.out.over = true
		return c.last()
	}
	c.out.over = false
	return nil
}

// tunnel turns both directions into plain bytes.
func (c *conn) tunnel() {
	c.closing = true
	c.out.mode = raw
	c.body.begin(raw, 0, nil)
	c.src.keep = c.src.r
	if !c.x.Request.Method.Is("CONNECT") {
		c.sink.buf = append(c.sink.buf, "connection: upgrade\r\n"...)
	}
}

// statusLine begins a head.
func (c *conn) statusLine(status int) {
	c.sink.begin()
	b := append(c.sink.buf, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, reason(status)...)
	c.sink.buf = append(b, "\r\n"...)
}

// WriteBody sends a piece of the body. What a bodiless response is given is dropped.
func (c *conn) WriteBody(p []byte, end bool) error {
	if c.head || c.out.mode == none {
		p = nil
	}
	if err := c.out.account(len(p), end); err != nil {
		return err
	}
	var err error
	if c.out.mode == chunked {
		if err = c.sink.chunk(p); err == nil && end {
			c.sink.trailers(nil)
		}
	} else {
		err = c.sink.write(p)
	}
	if err == nil && end {
		err = c.last()
		if c.out.mode == raw {
			closeWrite(c.sess.Conn)
		}
	}
	return err
}

// WriteTrailers ends a chunked body; other framings end without trailers.
func (c *conn) WriteTrailers(t *exchange.Head) error {
	if c.out.mode != chunked {
		return c.WriteBody(nil, true)
	}
	c.out.over = true
	c.sink.trailers(t)
	return c.last()
}

// Flush sends what is gathered, now.
func (c *conn) Flush() error {
	if err := c.sink.flush(); err != nil || c.sock == nil || !c.sock.Holds() {
		return err
	}
	return c.sock.Release()
}

// last ends an answer. Where the client has said nothing more, it leaves with the wait for the next request.
func (c *conn) last() error {
	if c.sock == nil || !c.whole || c.closing || c.src.r < c.src.w {
		return c.Flush()
	}
	c.sock.Hold(false)
	return c.sink.flush()
}

// Abort cuts the connection: the client must see that the response is incomplete.
func (c *conn) Abort() {
	c.aborted = true
	c.sink.buf = c.sink.buf[:0]
	cut(c.sess.Conn)
}

// disarm takes the read deadline away.
func (c *conn) disarm() {
	c.armed = time.Time{}
	_ = c.sess.Conn.SetReadDeadline(time.Time{})
}
