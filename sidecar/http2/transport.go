package http2

import (
	"cmp"
	"log/slog"
	"net"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http2/block"
	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// CodecOptions are what a Codec needs from outside.
type CodecOptions struct {
	Recorder exchange.Recorder // only Panicked is called
	Log      *slog.Logger
	// Overloaded says whether memory is full; nil: it never is.
	Overloaded func() bool
}

// Codec makes transports. One value serves all upstream connections of a proxy.
type Codec struct {
	mem   *memory
	alarm alarm
}

// NewCodec returns a Codec.
func NewCodec(o CodecOptions) *Codec {
	return &Codec{mem: &memory{full: o.Overloaded}, alarm: alarm{o.Recorder, o.Log}}
}

// Transport speaks HTTP/2 as a client on conn, which is established and secured. The preface leaves with the first
// request. It is an upstream.Codec.
func (d *Codec) Transport(conn net.Conn, info *exchange.TransportInfo) (exchange.Transport, error) {
	l := limits{head: cmp.Or(info.MaxHead, defaultHead), fields: cmp.Or(info.MaxHeaders, defaultFields), block: handshakeTimeout, window: serverWindow, stall: upstreamStall}
	cc := &clientConn{conn: newConn(conn, d.mem, l, d.alarm), codec: d, info: info, next: 1}
	cc.conn.side = cc
	sock.Heed(conn, silence, unheard)
	cc.start(preface, true)
	cc.keepAlive()
	go cc.run()
	return cc, nil
}

// clientConn is a connection to an upstream: many exchanges at a time.
type clientConn struct {
	*conn
	codec *Codec
	info  *exchange.TransportInfo

	// guarded by conn.mu
	next  uint32 // number of the next stream
	open  int    // places taken, streams that have sent nothing yet included
	away  bool   // no new streams: the peer goes away, we drain, or the numbers are used up
	asker asker
}

func (cc *clientConn) run() {
	cc.end(cc.readSafely())
}

// Open implements exchange.Transport.
func (cc *clientConn) Open() (exchange.Stream, error) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.away || cc.cause != nil || uint32(cc.open) >= cc.peerStreams {
		return nil, exchange.ErrRefused
	}
	cc.open++
	st, _ := cc.mem.streams.Get().(*clientStream)
	if st == nil {
		st = &clientStream{}
	}
	st.open(cc.conn)
	st.cc, st.tunnel = cc, tunnel{}
	return st, nil
}

// Slots implements exchange.Transport.
func (cc *clientConn) Slots() int {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return int(max(1, min(cc.peerStreams, lastStreamID)))
}

// Alive is Usable: the connection is always read.
func (cc *clientConn) Alive() bool { return cc.Usable() }

// Usable implements exchange.Transport: the reader notices what the peer does, so state is enough.
func (cc *clientConn) Usable() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return !cc.away && cc.cause == nil
}

// Info implements exchange.Transport.
func (cc *clientConn) Info() *exchange.TransportInfo { return cc.info }

// Drain implements exchange.Transport.
func (cc *clientConn) Drain() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.away = true
	cc.leave()
}

// Close implements exchange.Transport.
func (cc *clientConn) Close() error {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.die(http2.ErrCodeNo, "", errClosed)
	cc.shut()
	return nil
}

// leave closes a connection that takes no new streams and has no old ones. The lock is held.
func (cc *clientConn) leave() {
	if cc.away && cc.open == 0 {
		cc.die(http2.ErrCodeNo, "", errClosed)
	}
}

func (cc *clientConn) known(id uint32) bool { return id%2 == 1 && id < cc.next }

func (cc *clientConn) kind(_ uint32, st *stream) block.Kind {
	switch {
	case st == nil:
		return block.Ignored
	case st.final:
		return block.Trailers
	}
	return block.Response
}

// fresh takes the head of a stream that has ended here already.
func (cc *clientConn) fresh(id uint32, _ *block.Decoder, _ bool) error {
	cc.mu.Lock()
	known := cc.known(id)
	cc.mu.Unlock()
	if !known {
		return violation("HEADERS on an idle stream")
	}
	return nil
}

func (cc *clientConn) gone(*stream) {}
func (cc *clientConn) pause()       {}
func (cc *clientConn) empty()       {}

func (cc *clientConn) grown() {
	if cc.info.Grown != nil {
		cc.info.Grown()
	}
}

// goneAway fails the streams that the peer has not processed: they may go elsewhere.
func (cc *clientConn) goneAway(last uint32) {
	cc.away = true
	for id, st := range cc.streams {
		if id > last {
			st.lost(exchange.ErrRefused)
		}
	}
	cc.leave()
}

// clientStream is one exchange's place on a clientConn.
type clientStream struct {
	stream
	cc     *clientConn
	tunnel tunnel
}

// SetDeadline implements exchange.Stream.
func (st *clientStream) SetDeadline(t time.Time) { st.setDeadline(t) }

// WriteHead implements exchange.Stream. It gives the stream its number: numbers must rise on the wire.
func (st *clientStream) WriteHead(h *exchange.Head, end bool) error {
	if !h.HasTarget() {
		return exchange.ErrUnfit
	}
	cc := st.cc
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if err := st.admit(); err != nil {
		if err == exchange.ErrReset {
			err = exchange.ErrRefused // nothing was sent
		}
		return err
	}
	up, tunnels := tunnelOf(h)
	if tunnels {
		st.tunnel, end = up, false
		if up.protocol != "" {
			if err := st.settled(); err != nil {
				return err
			}
		}
	}
	if cc.away || cc.cause != nil {
		return exchange.ErrRefused
	}
	st.id, st.at = cc.next, cc.position()
	if cc.next += 2; cc.next > lastStreamID {
		cc.away = true
	}
	st.bodiless = h.Method.Is("HEAD")
	cc.add(&st.stream)
	st.writeBlock(cc.enc.Request(h, up.protocol), end)
	return nil
}

// WriteBody implements exchange.Stream.
func (st *clientStream) WriteBody(p []byte, end bool) error { return st.writeBody(p, end) }

// WriteTrailers implements exchange.Stream.
func (st *clientStream) WriteTrailers(t *exchange.Head) error {
	if len(t.Fields) == 0 {
		return st.writeBody(nil, true)
	}
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if err := st.writable(); err != nil {
		return err
	}
	st.writeBlock(st.c.enc.Trailers(t), true)
	return nil
}

// Flush implements exchange.Stream.
func (st *clientStream) Flush() error { return st.flushOut() }

// ReadHead implements exchange.Stream.
func (st *clientStream) ReadHead(h *exchange.Head) (bool, error) {
	end, err := st.readHead(h)
	if err == nil {
		st.tunnel.asSwitched(h)
	}
	return end, err
}

// ReadBody implements exchange.Stream.
func (st *clientStream) ReadBody() (exchange.View, bool, error) {
	p, end, err := st.readBody()
	return p, end, err
}

// ReadTrailers implements exchange.Stream.
func (st *clientStream) ReadTrailers(t *exchange.Head) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	t.Reset()
	*t, st.trailers = st.trailers, *t
}

// Buffered implements exchange.Stream.
func (st *clientStream) Buffered() bool { return st.buffered() }

// Abort implements exchange.Stream.
func (st *clientStream) Abort() {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.rst(http2.ErrCodeCancel, exchange.ErrAborted)
	st.rdErr, st.soft = exchange.ErrAborted, false
}

// Close implements exchange.Stream. A message that is not complete either way is given up.
func (st *clientStream) Close() {
	cc := st.cc
	cc.mu.Lock()
	st.rst(http2.ErrCodeCancel, exchange.ErrAborted)
	cc.remove(&st.stream)
	cc.open--
	reuse := st.retire() && !st.queued
	cc.leave()
	cc.mu.Unlock()
	if reuse {
		cc.mem.streams.Put(st)
	}
}

// Reusable implements exchange.Stream.
func (st *clientStream) Reusable() bool { return st.cc.Usable() }
