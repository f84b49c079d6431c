package http2

import (
	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http2/block"
)

// serverStream is a client's stream and the exchange on it. It is the exchange.Downstream that forward drives.
type serverStream struct {
	stream
	sc     *serverConn
	x      exchange.Exchange
	refuse exchange.Outcome // of the head; OK: none
	begun  bool             // the final response head is queued
	runFn  func()

	extended bool // the request was an extended CONNECT
}

// Log texts of heads that no exchange was made of, as %RESPONSE_CODE_DETAILS%.
const (
	detailsMalformed = "http2.violation.of.messaging.rule"
	detailsTooLarge  = "http2.too_many_headers"
)

// stream returns a server stream, new or used before.
func (s *Server) stream() *serverStream {
	if ss, _ := s.mem.streams.Get().(*serverStream); ss != nil {
		return ss
	}
	ss := &serverStream{}
	ss.runFn = ss.run
	ss.owner = ss
	return ss
}

// begin takes the head that was just decoded. The lock is held.
func (ss *serverStream) begin(sc *serverConn, id uint32, b *block.Decoder, end bool) {
	ss.open(sc.conn)
	ss.sc, ss.id, ss.refuse, ss.begun = sc, id, exchange.OK, false
	ss.extended = false
	ss.final, ss.recvEnd = true, end
	x := &ss.x
	x.Reset(sc.session.Facts)
	x.Request, b.Head = b.Head, x.Request
	x.Protocol = exchange.HTTP2
	x.Start = ss.c.now()
	ss.born = x.Start
	ss.declared = b.Length
	switch {
	case b.Verdict == block.TooLarge:
		ss.refuse, x.Details = exchange.HeadTooLarge, detailsTooLarge
	case b.Verdict == block.Malformed, end && b.Length > 0:
		ss.refuse, x.Details = exchange.BadRequest, detailsMalformed
	case b.Protocol != nil:
		ss.extended = true
		asUpgrade(x, b.Protocol)
	case x.Request.Method.Is("CONNECT"):
		x.Upgrade = x.Request.Method
	}
}

// run serves the exchange: the stream's own goroutine.
func (ss *serverStream) run() {
	defer ss.finish()
	bound := ss.sc.session.Binding.Current()
	if bound == nil || bound.Chain.HTTP == nil { // no chain would take the connection today: what is open may end in peace
		ss.c.mu.Lock()
		ss.rst(http2.ErrCodeRefusedStream, exchange.ErrAborted)
		ss.c.mu.Unlock()
		ss.sc.drain()
		return
	}
	h := ss.sc.server.opts.Handler
	if ss.refuse != exchange.OK {
		h.Refuse(&ss.x, ss, bound, ss.refuse)
		return
	}
	h.Serve(&ss.x, ss, bound)
}

// finish ends the stream, whatever state it is in, and gives its memory back.
func (ss *serverStream) finish() {
	r := recover()
	if r != nil {
		ss.sc.server.alarm.ring(r)
	}
	c := ss.c
	c.mu.Lock()
	switch {
	case r != nil:
		c.die(http2.ErrCodeInternal, "", errClosed)
	case ss.refuse == exchange.BadRequest: // an answer may come first, a stream error must follow (RFC 9113, 8.1.1)
		ss.recvEnd = false
		ss.rst(http2.ErrCodeProtocol, exchange.ErrProtocol)
	case !ss.sendEnd:
		ss.rst(http2.ErrCodeInternal, exchange.ErrAborted)
	case !ss.recvEnd: // answered early: the client need not send the rest (RFC 9113, 8.1)
		ss.rst(http2.ErrCodeNo, exchange.ErrAborted)
	}
	if o := ss.x.Outcome; ss.blamed != "" && o != exchange.BadRequest && o != exchange.HeadTooLarge { // whose end told already
		ss.sc.server.alarm.malformed(ss.blamed) // while the connection still waits for this stream
	}
	reuse := ss.retire() && !ss.queued && r == nil
	c.remove(&ss.stream)
	c.mu.Unlock()
	if reuse {
		ss.sc.server.mem.streams.Put(ss)
	}
}

// BodyBuffered implements exchange.Downstream.
func (ss *serverStream) BodyBuffered() (exchange.View, bool) {
	ss.c.mu.Lock()
	defer ss.c.mu.Unlock()
	if !ss.recvEnd || ss.rdErr != nil || !ss.in.single() || len(ss.trailers.Fields) > 0 {
		return nil, false
	}
	return ss.in.take(ss.c.mem), true
}

// ReadBody implements exchange.Downstream; the exchange has its trailers once it has said end.
func (ss *serverStream) ReadBody() (exchange.View, bool, error) {
	p, end, err := ss.readBody()
	if end {
		ss.c.mu.Lock()
		ss.x.Trailers, ss.trailers = ss.trailers, ss.x.Trailers
		ss.c.mu.Unlock()
	}
	return p, end, err
}

// WriteInterim implements exchange.Downstream.
func (ss *serverStream) WriteInterim(h *exchange.Head) error {
	if h.Status == 101 {
		return nil
	}
	return ss.writeHead(h, false, false)
}

// WriteHead implements exchange.Downstream.
func (ss *serverStream) WriteHead(end bool) error {
	return ss.writeHead(&ss.x.Response, end, true)
}

func (ss *serverStream) writeHead(h *exchange.Head, end, final bool) error {
	if ss.extended && h.Status == 101 {
		h = asConnected(h)
	}
	c := ss.c
	c.mu.Lock()
	defer c.mu.Unlock()
	ss.patience = ss.x.Stall
	if err := ss.admit(); err != nil {
		return err
	}
	ss.writeBlock(c.enc.Response(h), end)
	if ss.begun = final; !final {
		c.wake()
	}
	return nil
}

// WriteBody implements exchange.Downstream.
func (ss *serverStream) WriteBody(p []byte, end bool) error { return ss.writeBody(p, end) }

// WriteTrailers implements exchange.Downstream.
func (ss *serverStream) WriteTrailers(t *exchange.Head) error {
	if len(t.Fields) == 0 {
		return ss.writeBody(nil, true)
	}
	c := ss.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ss.writable(); err != nil {
		return err
	}
	ss.writeBlock(c.enc.Trailers(t), true)
	return nil
}

// Flush implements exchange.Downstream.
func (ss *serverStream) Flush() error { return ss.flushOut() }

// Watch implements exchange.Downstream: the connection's reader notices by itself.
func (ss *serverStream) Watch() {}

// Unwatch implements exchange.Downstream.
func (ss *serverStream) Unwatch() {}

// StopBody implements exchange.Downstream.
func (ss *serverStream) StopBody() {
	ss.c.mu.Lock()
	ss.stopped = true
	ss.rd.Broadcast()
	ss.c.mu.Unlock()
}

// Abort implements exchange.Downstream. A gRPC client learns the reason from trailers, which a response that has begun
// can still have; others see a reset, those of gRPC-Web too, who look for trailers in the body.
func (ss *serverStream) Abort() {
	c := ss.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if ss.sendEnd {
		return
	}
	if ss.begun && ss.x.GRPC && ss.x.Bridge == nil && ss.writable() == nil {
		var t exchange.Head
		ss.x.GRPCStatus = failure(&t, ss.x.Outcome)
		ss.writeBlock(c.enc.Trailers(&t), true)
		return
	}
	ss.rst(resetCode(ss.x.Outcome), exchange.ErrAborted)
}
