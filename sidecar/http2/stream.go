package http2

import (
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// stream is one exchange's place on a connection, either end of it. Everything in it is guarded by the connection's
// lock; one goroutine reads and one writes.
type stream struct {
	c  *conn
	id uint32 // 0: nothing sent yet
	at int64  // where its first byte stands in what the connection writes

	rd, wr     sync.Cond
	rdErr      error  // why nothing more can be read
	soft       bool   // rdErr came from the peer: what had arrived before can still be read
	quit       bool   // its client has reset it, whatever became of it since
	blamed     string // the first thing that its peer did wrong on it, as a metric's label
	wrErr      error  // why nothing more can be written
	head       exchange.Head
	headReady  bool
	older      []exchange.Head // interim heads that came before head and were not read yet
	headEnd    bool            // the head ended the message
	final      bool            // a final head (or the request's) has arrived: the next block is trailers
	trailers   exchange.Head
	in         inbox
	recvEnd    bool // the peer has said everything
	sendEnd    bool // we have
	stopped    bool // StopBody
	bodiless   bool // a response to HEAD: content-length promises nothing
	born       time.Time
	sendWindow int64
	recvWindow int64
	owed       int64
	declared   int64 // content-length, -1: none
	received   int64
	stalled    time.Time     // since when a writer waits for the peer's window
	patience   time.Duration // for how long it does; 0: for ever
	queued     bool          // among conn.blocked

	deadline time.Time
	expired  bool
	timer    *time.Timer
	armed    int // runs of the timer's function still to come

	owner *serverStream // nil on the client side
}

// open readies a stream, new or used before, for connection c.
func (st *stream) open(c *conn) {
	st.c, st.id, st.at = c, 0, 0
	st.rd.L, st.wr.L = &c.mu, &c.mu
	st.rdErr, st.wrErr, st.soft, st.quit, st.blamed = nil, nil, false, false, ""
	st.head.Reset()
	st.older = nil
	st.trailers.Reset()
	st.headReady, st.headEnd, st.final, st.recvEnd, st.sendEnd, st.stopped = false, false, false, false, false, false
	st.sendWindow, st.recvWindow, st.owed, st.declared, st.received = 0, 0, 0, -1, 0
	st.stalled, st.born, st.queued, st.bodiless, st.patience = time.Time{}, time.Time{}, false, false, 0
	st.deadline, st.expired = time.Time{}, false
}

// retire says whether the stream may be used for another exchange: not while its timer's function may be under way.
// The lock is held.
func (st *stream) retire() bool {
	st.disarm()
	return st.armed == 0
}

func (st *stream) disarm() {
	if st.armed > 0 && st.timer.Stop() {
		st.armed--
	}
}

// fail makes both halves fail, at once. The lock is held.
func (st *stream) fail(err error) {
	if st.rdErr == nil || st.soft {
		st.rdErr, st.soft = err, false
	}
	if st.wrErr == nil {
		st.wrErr = err
	}
	st.notify()
}

// blame notes what the peer did wrong. The lock is held.
func (st *stream) blame(reason string) {
	if st.blamed == "" {
		st.blamed = reason
	}
}

// lost notes that the peer is gone: what it has said can still be read. The lock is held.
func (st *stream) lost(err error) {
	if st.rdErr == nil && !st.recvEnd {
		st.rdErr, st.soft = err, true
	}
	if st.wrErr == nil {
		st.wrErr = err
	}
	st.notify()
}

func (st *stream) notify() {
	st.rd.Broadcast()
	st.wr.Broadcast()
}

// setDeadline bounds pending and later calls; zero means none.
func (st *stream) setDeadline(t time.Time) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.deadline, st.expired = t, false
	if t.IsZero() {
		st.disarm()
		return
	}
	d := t.Sub(st.c.now())
	if d <= 0 {
		st.expired = true
		st.notify()
		return
	}
	switch {
	case st.timer == nil:
		st.timer = time.AfterFunc(d, st.expire)
		st.armed++
	case !st.timer.Reset(d):
		st.armed++
	}
}

func (st *stream) expire() {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.armed--
	if !st.deadline.IsZero() && !st.c.now().Before(st.deadline) {
		st.expired = true
		st.notify()
	}
}

// readHead waits for a head and moves it into h.
func (st *stream) readHead(h *exchange.Head) (end bool, err error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	for {
		if err := st.readable(); err != nil {
			return false, err
		}
		if st.headReady {
			break
		}
		if st.rdErr != nil {
			return false, st.rdErr
		}
		st.rd.Wait()
	}
	if len(st.older) > 0 {
		*h, st.older = st.older[0], st.older[1:]
		return false, nil
	}
	*h, st.head = st.head, *h
	st.headReady = false
	return st.headEnd, nil
}

// readable returns why nothing may be read, be there something or not. The lock is held.
func (st *stream) readable() error {
	switch {
	case st.rdErr != nil && !st.soft:
		return st.rdErr
	case st.expired:
		return exchange.ErrTimeout
	case st.stopped:
		return exchange.ErrAborted
	}
	return nil
}

// readBody waits for the next piece. What it returned last is the peer's to send again.
func (st *stream) readBody() (p []byte, end bool, err error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := st.readable(); err != nil {
			return nil, false, err
		}
		if l := st.in.lent; l != nil {
			st.credit(l.w - l.r)
		}
		if p = st.in.take(c.mem); p != nil {
			return p, st.recvEnd && st.in.empty(), nil
		}
		if st.recvEnd {
			return nil, true, nil
		}
		if st.rdErr != nil {
			return nil, false, st.rdErr
		}
		st.rd.Wait()
	}
}

// buffered says whether readBody would return at once.
func (st *stream) buffered() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return !st.in.empty() || st.recvEnd || st.rdErr != nil
}

// credit lets the peer send n more bytes on the stream and on the connection. The lock is held.
func (st *stream) credit(n int) {
	c := st.c
	c.credit(n)
	st.owed += int64(n)
	if st.owed < streamWindow/2 || st.recvEnd || st.rdErr != nil || c.cause != nil {
		return
	}
	b := c.buf()
	*b = appendWindow(*b, st.id, st.owed)
	st.recvWindow += st.owed
	st.owed = 0
	c.wake()
}

// credit lets the peer send n more bytes on the connection; announced in large steps. The lock is held.
func (c *conn) credit(n int) {
	c.owed += int64(n)
	if c.owed < creditStep || c.cause != nil {
		return
	}
	b := c.buf()
	*b = appendWindow(*b, 0, c.owed)
	c.recvWindow += c.owed
	c.owed = 0
	c.wake()
}

// rst tells the peer that we give the stream up. The lock is held.
func (st *stream) rst(code http2.ErrCode, err error) {
	if st.id == 0 {
		st.fail(err)
		return
	}
	st.c.reset(st, code, err)
}
