package tcp

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// record is TLS's longest record: a read never brings more, and idle connections keep a buffer of that size each way.
const record = 16 << 10

// buffers are for connections that the kernel cannot splice.
var buffers = sync.Pool{New: func() any { return new([record]byte) }}

// relay is one connection pair.
type relay struct {
	client   net.Conn
	up       *upstream.Conn
	idle     time.Duration
	recorder exchange.Recorder
	facts    *exchange.Connection
	log      *slog.Logger

	received, sent   atomic.Int64 // from and to the client
	reportedReceived int64
	reportedSent     int64

	mu  sync.Mutex
	why exchange.Outcome
}

// end notes why the relay ended; the first reason stands.
func (r *relay) end(o exchange.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == exchange.OK {
		r.why = o
	}
}

func (r *relay) outcome() exchange.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// delta returns the bytes since it was last called.
func (r *relay) delta() (received, sent int64) {
	a, b := r.received.Load(), r.sent.Load()
	received, sent = a-r.reportedReceived, b-r.reportedSent
	r.reportedReceived, r.reportedSent = a, b
	return received, sent
}

// past wakes whoever reads. Never written.
var past = time.Unix(1, 0)

// run relays both ways until both are done; first is what the client had said already, said what the upstream had.
func (r *relay) run(first, said []byte, most time.Duration) {
	if most > 0 {
		t := time.AfterFunc(most, func() {
			r.end(exchange.Timeout)
			r.cut()
		})
		defer t.Stop()
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() { r.report(stop) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.recovered()
		if r.begin(r.up.Conn, first, &r.received) {
			r.carry(r.up.Conn, r.client, &r.received, &r.sent)
		}
	}()
	if r.begin(r.client, said, &r.sent) {
		r.carry(r.client, r.up.Conn, &r.sent, &r.received)
	}
	<-done
}

// begin passes on what was read before the relay began.
func (r *relay) begin(dst net.Conn, p []byte, count *atomic.Int64) bool {
	if len(p) == 0 {
		return true
	}
	n, err := dst.Write(p)
	count.Add(int64(n))
	if err != nil {
		r.cut()
	}
	return err == nil
}

func (r *relay) recovered() {
	if v := recover(); v != nil {
		r.log.Error("recovered from a panic while relaying", "panic", v, "stack", string(debug.Stack()))
		r.recorder.Panicked()
		r.end(exchange.Panicked)
		r.cut()
	}
}

func (r *relay) cut() {
	_ = r.client.Close()
	_ = r.up.Close()
}

// report tells the recorder now and then how far the relay has come.
func (r *relay) report(stop chan struct{}) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if received, sent := r.delta(); received != 0 || sent != 0 {
				r.recorder.Progress(r.facts, received, sent)
			}
		}
	}
}

// carry moves bytes one way until the source ends (then the destination's way is closed too) or something breaks (then
// both connections are cut). other counts the other way: while it moves, this one is not idle.
func (r *relay) carry(dst, src net.Conn, count, other *atomic.Int64) {
	l, seen := newLane(dst, src), other.Load()
	for {
		if r.idle > 0 {
			_ = src.SetReadDeadline(time.Now().Add(r.idle))
		}
		n, err := l.move()
		count.Add(n)
		switch {
		case err == io.EOF:
			closeWrite(dst)
			return
		case err == nil:
		case r.idle > 0 && errors.Is(err, os.ErrDeadlineExceeded):
			if now := other.Load(); n == 0 && now == seen {
				r.end(exchange.IdleTimeout)
				r.cut()
				return
			}
		default:
			r.cut()
			return
		}
		seen = other.Load()
	}
}

// lane moves bytes one way.
type lane struct {
	dst, src net.Conn
	to, from *net.TCPConn // both set: the kernel can splice
	raw      syscall.RawConn
	waiting  func(fd uintptr) bool
	poll     [1]unix.PollFd
	limited  io.LimitedReader
}

func newLane(dst, src net.Conn) *lane {
	l := &lane{dst: dst, src: src}
	to, okTo := dst.(*net.TCPConn)
	from, okFrom := src.(*net.TCPConn)
	if !okTo || !okFrom {
		return l
	}
	if raw, err := from.SyscallConn(); err == nil {
		l.to, l.from, l.raw, l.waiting = to, from, raw, l.look
	}
	return l
}

// look says whether there is something to move, and how much.
func (l *lane) look(fd uintptr) bool {
	l.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
	if n, err := unix.Poll(l.poll[:], 0); n == 0 || err != nil {
		return false
	}
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil || n < 1 {
		n = 1 // the end, or an error: reading tells
	}
	l.limited = io.LimitedReader{R: l.from, N: int64(n)}
	return true
}

// move moves what is there, waiting for something: by splice where both ends are sockets, and exactly that much, since
// splice itself would not tell what it has moved before it is done. io.EOF: the source has ended.
func (l *lane) move() (int64, error) {
	if l.raw == nil {
		return l.pass()
	}
	if err := l.raw.Read(l.waiting); err != nil {
		return 0, err
	}
	n, err := l.to.ReadFrom(&l.limited)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (l *lane) pass() (int64, error) {
	buf := buffers.Get().(*[record]byte)
	defer buffers.Put(buf)
	n, err := l.src.Read(buf[:])
	if n > 0 {
		if _, werr := l.dst.Write(buf[:n]); werr != nil {
			return int64(n), werr
		}
	}
	if n > 0 && err == io.EOF {
		err = nil // it comes again
	}
	return int64(n), err
}

// closeWrite ends one way, where the connection can; else nothing more will come, and it is closed.
func closeWrite(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
		return
	}
	_ = c.Close()
}
