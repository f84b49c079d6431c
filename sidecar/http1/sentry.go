package http1

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// silence is how long an upstream may be silent before the client is watched, up to twice that: a wait shorter than that costs no
// goroutine.
const silence = 10 * time.Millisecond

// oneLook is how many connections are looked at in a tick; where there are more, each has its turn less often.
const oneLook = 1024

// sentry looks, once in a while, at all connections that have something to do: which of them has waited for its upstream for long enough that the client
// is to be watched, and which for its client for so long that it can rest. A timer for each of them, that would be set with each request, costs as much
// as parsing does.
type sentry struct {
	now atomic.Uint64 // ticks so far

	mu    sync.Mutex
	conns []*conn
	next  int // whose turn it is
	timer *time.Timer
	ticks bool // the timer will tick
}

// add begins to look at a connection.
func (s *sentry) add(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.watch.place = len(s.conns)
	s.conns = append(s.conns, c)
	switch {
	case s.ticks:
		return
	case s.timer == nil:
		s.timer = time.AfterFunc(silence, s.tick)
	default:
		s.timer.Reset(silence)
	}
	s.ticks = true
}

// remove ends add. Nothing of c is looked at any more once it returns.
func (s *sentry) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.conns) - 1
	moved := s.conns[last]
	s.conns[c.watch.place] = moved
	moved.watch.place = c.watch.place
	s.conns[last] = nil
	s.conns = s.conns[:last]
}

func (s *sentry) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now.Add(1)
	for range min(len(s.conns), oneLook) {
		if s.next++; s.next >= len(s.conns) {
			s.next = 0
		}
		s.conns[s.next].inspect(now)
	}
	if s.ticks = len(s.conns) > 0; s.ticks {
		s.timer.Reset(silence)
	}
}

// What a connection's goroutine does, as far as its sentry must know. A mark is one of these, with the tick at which it began above it.
const (
	working uint64 = iota // anything else
	awaits                // it waits for the upstream: a client that gives up is to be noticed
	looked                // the same, and another goroutine reads the client
	idles                 // it waits for the client, and could rest
	kicked                // the same, and it is to rest
	marks   = 0xff
	ticked  = 8 // bits
)

// watch is a connection's side of its sentry.
type watch struct {
	mark  atomic.Uint64
	place int // among the sentry's, which owns it

	clock *atomic.Uint64 // the sentry's
	write atomic.Uint64  // the tick after which the write under way began; 0: there is none

	mu    sync.Mutex    // of what is done in another's place
	reads chan struct{} // non-nil while a second goroutine reads; closes when it ends
}

func (c *conn) began(mark uint64) uint64 { return mark | c.sentry.now.Load()<<ticked }

// Watch begins to notice a client that gives up, once the upstream has been silent for a while.
func (c *conn) Watch() {
	if c.watch.mark.Swap(c.began(awaits))&marks == looked { // it goes on
		c.watch.mark.Store(looked)
	}
}

// Unwatch ends Watch and waits until nobody else reads the connection.
func (c *conn) Unwatch() {
	w := &c.watch
	if w.mark.Swap(working)&marks != looked {
		return
	}
	w.mu.Lock()
	reads := w.reads
	w.mu.Unlock()
	if reads != nil {
		_ = c.sess.Conn.SetReadDeadline(time.Unix(1, 0))
		<-reads
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.stopped.Load() { // else nothing may wait for the client again
		c.disarm()
	}
}

// waits notes that the client is waited for.
func (c *conn) waits() {
	if c.mayRest() {
		c.watch.mark.Store(c.began(idles))
	}
}

// came ends waits; kicked: the connection was to rest, and its deadline is over.
func (c *conn) came() bool {
	w := &c.watch
	if w.mark.Swap(working)&marks != kicked {
		return false
	}
	w.mu.Lock() // until the kick is over
	defer w.mu.Unlock()
	c.armed = time.Time{}
	return true
}

// overdue is the mark of a write that has lasted for too long.
const overdue = math.MaxUint64

// writes notes that a write begins.
func (w *watch) writes() {
	if w != nil {
		w.write.Store(w.clock.Load() + 1)
	}
}

// written notes that it is over; cut: it had lasted for too long.
func (w *watch) written() (cut bool) { return w != nil && w.write.Swap(0) == overdue }

// press ends a write to a client that takes nothing, where memory is full.
func (c *conn) press(now uint64) {
	begun := c.watch.write.Load()
	if begun == 0 || begun == overdue || time.Duration(now+1-begun)*silence < pressedStall || !c.proxy.Overloaded() {
		return
	}
	if c.watch.write.CompareAndSwap(begun, overdue) {
		_ = c.sess.Conn.SetWriteDeadline(time.Unix(1, 0))
	}
}

// inspect looks at c in its sentry's goroutine.
func (c *conn) inspect(now uint64) {
	c.press(now)
	w := &c.watch
	mark := w.mark.Load()
	waited := now - mark>>ticked
	switch mark & marks {
	case awaits:
		if waited >= 2 {
			c.guard(mark)
		}
	case idles:
		if time.Duration(waited)*silence > c.patience {
			c.kick(mark)
		}
	}
}

// kick ends the wait for the client.
func (c *conn) kick(mark uint64) {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mark.CompareAndSwap(mark, kicked) {
		_ = c.sess.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// guard has the client read while the upstream is silent.
func (c *conn) guard(mark uint64) {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.stopped.Load() || !w.mark.CompareAndSwap(mark, looked) {
		return
	}
	_ = c.sess.Conn.SetReadDeadline(time.Time{}) // that of a head or a body is no bound on the answer
	reads := make(chan struct{})
	w.reads = reads
	go c.look(reads)
}

// look reads the connection for as long as it is watched. What it reads is the rest of the body, or belongs to the next request; with a full big
// buffer it only waits for the end. A client that ends its half is taken for gone, as in Envoy: it would be seen to be gone only once something is written to it,
// and those that wait for nothing any more are many, those that wait for an answer few.
func (c *conn) look(reads chan struct{}) {
	w := &c.watch
	defer func() {
		if v := recover(); v != nil {
			c.proxy.Recovered("watching a client", v)
			c.x.Cancel()
		}
		w.mu.Lock()
		w.reads = nil
		w.mu.Unlock()
		close(reads)
	}()
	for {
		if c.src.w == len(c.src.buf) { // pipelined requests
			c.src.enlarge()
		}
		if c.src.w == len(c.src.buf) {
			if c.sock != nil && c.sock.Ended() == nil {
				c.x.Cancel()
			}
			return
		}
		n, err := c.sess.Conn.Read(c.src.buf[c.src.w:])
		c.src.w += n
		if err == nil {
			continue
		}
		if ioError(err) != exchange.ErrTimeout {
			c.x.Cancel()
		}
		return
	}
}
