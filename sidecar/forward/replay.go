package forward

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// maxKept is how much of a body that comes in pieces is kept for another try; trailers stay in the exchange. gRPC clients
// often send a request's head and its one message apart: without this, whether such a call can be tried again would depend
// on the network's mood.
const maxKept = 64 << 10

// keep remembers a piece for another try. The pump's goroutine calls it before it passes the piece on.
func (p *pump) keep(piece exchange.View, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passing, p.complete = true, end
	p.lost = p.lost || p.r.route.Retry == nil || len(p.kept)+len(piece) > maxKept
	if p.lost {
		p.kept = p.kept[:0]
		return
	}
	p.kept = append(p.kept, piece...)
}

// passed notes that the upstream's stream has taken the piece.
func (p *pump) passed() {
	p.mu.Lock()
	p.passing = false
	p.mu.Unlock()
}

// halt says whether the request can be sent again as far as its body goes: nothing of it was taken from the client but
// what is kept. dead: the try failed, with the body perhaps on its way. A pump that waits for the client is left alone, and
// where halt says yes the try's stream is not used again.
func (p *pump) halt(dead bool) bool {
	if !p.began {
		return true
	}
	p.mu.Lock()
	may := !p.lost && (p.complete || dead && p.passing)
	p.mu.Unlock()
	if !p.over {
		select {
		case <-p.done:
		default:
			if !may {
				return false
			}
			p.s.Abort()
			<-p.done
		}
		p.over = true
	}
	return !p.lost && !p.gone && (dead || p.complete)
}

// forget ends the exchange; a long body's memory does not stay with the connection.
func (p *pump) forget() {
	p.began, p.bad, p.lost, p.kept, p.due = false, false, false, p.kept[:0], time.Time{}
	if cap(p.kept) > 4<<10 {
		p.kept = nil
	}
}

// rewind readies the next try after halt: it begins with what is kept, and goes on with the client's next piece.
func (r *run) rewind() {
	p := &r.pump
	if !p.began {
		return
	}
	p.began = false
	if r.body, r.whole = p.kept, p.complete; !r.whole {
		return
	}
	if r.x.RequestEnd.IsZero() {
		r.x.RequestEnd = r.x.Now()
	}
	if r.timeout > 0 && r.deadline.IsZero() {
		r.deadline = r.x.RequestEnd.Add(r.timeout)
	}
}
