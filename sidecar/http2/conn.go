package http2

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http2/block"
)

// side is what differs between the ends of a connection.
type side interface {
	// known says whether a stream of that number may exist or have existed.
	known(id uint32) bool
	// closed judges, with the lock held, a DATA or HEADERS frame on a known stream that is not open any more.
	closed(id uint32) error
	// fresh takes a header block on a stream that is not open. It runs without the lock.
	fresh(id uint32, b *block.Decoder, end bool) error
	// kind says what the next block on a stream stands for; st is nil where the stream is not open.
	kind(id uint32, st *stream) block.Kind
	// gone runs with the lock held once the peer has given a stream up.
	gone(st *stream)
	// goneAway runs with the lock held when the peer announces its end: streams beyond last were not processed.
	goneAway(last uint32)
	// grown runs without the lock when the peer allows more streams.
	grown()
	// pause runs without the lock before the reader waits for the network.
	pause()
	// pong runs with the lock held when the peer answers a ping.
	pong(data [8]byte)
	// empty runs with the lock held when the last stream has ended.
	empty()
}

// conn is one connection, either end of it. One goroutine reads; streams write into out under mu, and a flusher that
// lives only while there is something to write carries it to the socket.
type conn struct {
	nc    net.Conn
	alarm alarm
	side  side
	mem   *memory
	lim   limits
	now   func() time.Time

	// The reader's own.
	br      *input
	fr      *http2.Framer
	blk     *block.Decoder
	chatter bucket // frames that carry nothing
	churn   bucket // streams that were opened for nothing

	mu      sync.Mutex
	streams map[uint32]*stream
	cut     cuts
	enc     *block.Encoder

	out, spare *[]byte
	queued     int64 // bytes ever put into out
	sent       int64 // bytes of them that the socket took, or is taking: the peer may have them
	plain      bool  // nc is a socket
	flushing   bool
	flushFn    func()
	writeBy    time.Time // the socket's write deadline
	writing    time.Time // since when it has not taken what it is given; zero: it is given nothing
	blocked    []*stream // waiting for room in out or in the connection's window

	sendWindow int64 // what the peer lets us send
	recvWindow int64 // what we let the peer send
	owed       int64 // read by streams, not yet announced
	sendStream int64 // the peer's initial window of a stream
	sendFrame  int   // largest frame the peer accepts

	peerStreams uint32 // how many streams the peer lets us open
	peerConnect bool   // it takes extended CONNECTs
	heard       bool   // its settings have come

	grace    int   // WINDOW_UPDATEs and PINGs that what we sent entitles the peer to
	got      int64 // frames of use, to notice a silent peer
	cause    error // why the connection is over; nil while it lives
	closing  bool  // close the socket once out is empty
	shutDown bool
	timer    *time.Timer
	looks    time.Time // when it fires
	idleAt   time.Time // since when there is no stream
	ended    sync.Cond // a stream has ended
}

func newConn(nc net.Conn, mem *memory, l limits, a alarm) *conn {
	c := &conn{
		nc: nc, plain: plain(nc), mem: mem, lim: l, alarm: a, now: time.Now,
		br:         newInput(nc, mem),
		blk:        block.NewDecoder(l.head, l.fields),
		chatter:    newBucket(2000, 100),
		churn:      newBucket(5000, 1000),
		streams:    map[uint32]*stream{},
		enc:        block.NewEncoder(),
		sendWindow: 65535, recvWindow: l.window, sendStream: 65535, sendFrame: frameSize,
		peerStreams: firstSlots,
	}
	c.ended.L = &c.mu
	c.flushFn = c.flush
	return c
}

// start readies the framer and queues our settings, after first.
func (c *conn) start(first string, client bool) {
	c.fr = http2.NewFramer(nil, c.br)
	c.fr.SetReuseFrames()
	c.fr.SetMaxReadFrameSize(frameSize)
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.buf()
	*b = append(*b, first...)
	*b = appendSettings(*b, c.lim.settings(client))
	*b = appendWindow(*b, 0, c.lim.window-65535)
	c.idleAt = c.now()
	next := c.nextTick()
	c.looks = c.idleAt.Add(next)
	c.timer = time.AfterFunc(next, c.tend)
}

// nextTick returns when tend has something to look at.
func (c *conn) nextTick() time.Duration {
	if c.lim.idle > 0 && len(c.streams) == 0 {
		return max(min(c.lim.idle-c.now().Sub(c.idleAt), tick), time.Millisecond)
	}
	return tick
}

// tend looks after the connection now and then: streams that get no window, and idleness.
func (c *conn) tend() {
	defer c.guard()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	now := c.now()
	for _, st := range c.streams {
		if c.mem.late(st.stalled, now, st.patience) {
			c.reset(st, http2.ErrCodeFlowControl, exchange.ErrTimeout)
		}
	}
	if c.mem.late(c.writing, now, 0) { // else the socket's deadline tells
		c.die(http2.ErrCodeNo, "", os.ErrDeadlineExceeded)
		c.shut()
		return
	}
	if c.lim.idle > 0 && len(c.streams) == 0 && now.Sub(c.idleAt) >= c.lim.idle {
		c.die(http2.ErrCodeNo, "idle", errIdle)
		return
	}
	c.look()
}

// look sets the timer. The lock is held.
func (c *conn) look() {
	next := c.nextTick()
	c.looks = c.now().Add(next)
	c.timer.Reset(next)
}

var (
	errIdle   = errors.New("connection idle")
	errSilent = errors.New("no answer to ping")
	errClosed = errors.New("connection closed")
)

// add makes a stream known. The lock is held.
func (c *conn) add(st *stream) {
	st.sendWindow, st.recvWindow = c.sendStream, streamWindow
	c.streams[st.id] = st
}

// remove ends a stream's life on the connection. The lock is held.
func (c *conn) remove(st *stream) {
	if st.id == 0 || c.streams[st.id] != st {
		return
	}
	delete(c.streams, st.id)
	if !st.recvEnd && !st.soft && !st.quit {
		c.cut.add(st.id)
	}
	if n := st.in.drop(c.mem); n > 0 {
		c.credit(n)
	}
	c.ended.Broadcast()
	if len(c.streams) == 0 {
		c.idleAt = c.now()
		if c.lim.idle > 0 && c.looks.Sub(c.idleAt) > c.lim.idle && c.cause == nil {
			c.look() // it would come too late
		}
		c.side.empty()
	}
}

// reset gives one stream up on both sides and tells the peer. The lock is held.
func (c *conn) reset(st *stream, code http2.ErrCode, err error) {
	if st.wrErr == nil && !(st.sendEnd && st.recvEnd) && c.cause == nil {
		b := c.buf()
		*b = appendReset(*b, st.id, code)
		c.wake()
	}
	st.fail(err)
}

// die ends the connection: the peer is told why (unless it is gone), every stream fails, the socket closes once that is
// written. The lock is held.
func (c *conn) die(code http2.ErrCode, why string, err error) {
	if c.cause != nil {
		return
	}
	c.cause = err
	c.timer.Stop()
	refused := false
	for _, st := range c.streams {
		lost := c.unsent(st, err)
		refused = refused || lost == exchange.ErrRefused
		st.lost(lost)
		c.side.gone(st)
	}
	b := c.buf()
	if _, server := c.side.(*serverConn); refused && !server {
		*b = (*b)[:0] // what may be sent elsewhere must not leave here any more
	}
	*b = appendGoAway(*b, c.lastPeer(), code, why)
	_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
	c.closing = true
	c.wake()
	c.ended.Broadcast()
}

// unsent returns the error for a stream on a connection that ended: refused where not a byte of it can have left.
func (c *conn) unsent(st *stream, cause error) error {
	switch {
	case st.owner != nil && errors.Is(cause, os.ErrDeadlineExceeded): // a client that takes nothing
		return exchange.ErrTimeout
	case st.at >= c.sent:
		return exchange.ErrRefused
	}
	return exchange.ErrReset
}

func (c *conn) lastPeer() uint32 {
	if s, ok := c.side.(*serverConn); ok {
		return s.last
	}
	return 0
}

// shut closes the socket now. The lock is held.
func (c *conn) shut() {
	if c.shutDown {
		return
	}
	c.shutDown = true
	nc := c.nc
	go nc.Close() // TLS says goodbye, which may take a moment
}
