package forward

import (
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// maxKept is how much of a body that comes in pieces is kept for another try, as in Envoy; trailers stay in the exchange. gRPC clients
// often send a request's head and its one message apart: without this, whether such a call can be tried again would depend
// on the network's mood.
const maxKept = 1 << 20

// shortKept is how much of that is kept whatever others keep, and is sent again at one go.
const shortKept = 64 << 10

// bodyMemory is how many bytes of longer bodies may be kept at a time, by all exchanges together. What goes beyond is not kept, and nothing
// more once memory is short.
const bodyMemory = 32 << 20

// bodies counts what is kept of bodies.
type bodies struct{ bytes atomic.Int64 }

// keep counts n more bytes; false: there is no room for them.
func (b *bodies) keep(n int) bool {
	if b.bytes.Add(int64(n)) > bodyMemory {
		b.bytes.Add(-int64(n))
		return false
	}
	return true
}

// drop gives n bytes back.
func (b *bodies) drop(n int) { b.bytes.Add(-int64(n)) }

// keep remembers a piece for another try, and the pump's goroutine calls it before it passes the piece on. A parked one waits; false: nobody wants the piece.
func (p *pump) keep(piece exchange.View, end bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.await(); p.stopped {
		return false
	}
	if p.passing, p.complete = true, end; end && p.arrived.IsZero() {
		p.arrived = time.Now()
	}
	if p.lost = p.lost || p.r.route.Retry == nil || !p.room(len(piece)); p.lost {
		p.drop()
		return true
	}
	p.kept = append(p.kept, piece...)
	return true
}

// room says whether n more bytes can be kept, and counts them.
func (p *pump) room(n int) bool {
	all := len(p.kept) + n
	more := max(all-shortKept, 0) - p.counted
	if all > maxKept || more > 0 && (p.r.p.refuses() || !p.r.p.kept.keep(more)) {
		return false
	}
	p.counted += more
	return true
}

// drop forgets what is kept; a long body's memory does not stay with the connection.
func (p *pump) drop() {
	if p.counted > 0 {
		p.r.p.kept.drop(p.counted)
		p.counted = 0
	}
	if p.kept = p.kept[:0]; cap(p.kept) > 4<<10 {
		p.kept = nil
	}
}

// passed notes that the upstream's stream has taken the piece, or takes no more.
func (p *pump) passed(err error) {
	p.mu.Lock()
	p.passing, p.broken = false, err != nil
	p.wake.Broadcast()
	p.mu.Unlock()
}

// forget ends the exchange.
func (p *pump) forget() {
	p.drop()
	p.began, p.bad, p.lost, p.again, p.due, p.arrived = false, false, false, false, time.Time{}, time.Time{}
}

// rewind readies the next try after halt: it begins with what is kept, and goes on with the client's next piece. A long body is sent by the pump, so that
// an early answer is seen, and a client that goes.
func (r *run) rewind() {
	p := &r.pump
	if !p.began {
		return
	}
	if p.parked {
		if r.body, r.whole, p.again = p.kept, false, len(p.kept) > shortKept; p.again {
			r.body = nil
		}
		return
	}
	p.began = false
	if p.complete && r.x.RequestEnd.IsZero() {
		r.x.RequestEnd = r.x.Now()
	}
	if p.complete && r.timeout > 0 && r.deadline.IsZero() {
		r.deadline = r.x.RequestEnd.Add(r.timeout)
	}
	if p.again = len(p.kept) > shortKept; p.again {
		r.body, r.whole = nil, false
		return
	}
	r.body, r.whole = p.kept, p.complete
}

// resend begins a try with what is kept; false: there is nothing more to carry.
func (p *pump) resend() bool {
	switch {
	case p.pass(p.kept, p.complete) != nil:
		return false
	case p.complete:
		p.ended()
		return false
	}
	return true
}
