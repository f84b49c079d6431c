package tcp

import (
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// relay is one connection pair.
type relay struct {
	client   net.Conn
	up       *far
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
			r.end(exchange.SessionDuration)
			r.cut()
		})
		defer t.Stop()
	}
	up, down := newLane(r.up.Conn, r.client), newLane(r.client, r.up.Conn)
	if r.idle > 0 {
		defer r.watch([2]*lane{up, down}).stop()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.recovered()
		r.carry(up, first, &r.received)
	}()
	r.carry(down, said, &r.sent)
	<-done
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

// reset cuts both connections so that either side sees that what it has is not the whole.
func (r *relay) reset() {
	for _, c := range []net.Conn{below(r.client), below(r.up.Conn)} {
		if t, ok := c.(interface{ SetLinger(sec int) error }); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
	r.cut()
}

// carry moves bytes one way, p first, which was read before the relay began, until the source ends (then the destination's way is closed too)
// or something breaks (then both connections are reset).
func (r *relay) carry(l *lane, p []byte, count *atomic.Int64) {
	n, err := l.write(p, nil)
	count.Add(n)
	for err == nil {
		n, err = l.move()
		count.Add(n)
	}
	switch {
	case err == io.EOF:
		closeWrite(l.dst)
	case r.outcome() != exchange.OK: // it was ended on purpose
		r.cut()
	default:
		r.reset()
	}
}

// closeWrite ends one way, where the connection can; else nothing more will come, and it is closed.
func closeWrite(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
		return
	}
	_ = c.Close()
}
