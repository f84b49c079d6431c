package forward

import "github.com/heddle-mesh/heddle/sidecar/exchange"

// maxKept is how much of a body that comes in pieces is kept for another try. gRPC clients often send a request's head
// and its one message apart: without this, whether such a call can be tried again would depend on the network's mood.
const maxKept = 64 << 10

// keep remembers a piece for another try. The pump's goroutine calls it before it passes the piece on.
func (p *pump) keep(piece exchange.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passing = true
	if p.lost = p.lost || p.r.route.Retry == nil || len(p.kept)+len(piece) > maxKept; p.lost {
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
// what is kept. dead: the try's stream is of no use any more, so that a piece on its way may be called back. A pump that
// waits for the client is left alone.
func (p *pump) halt(dead bool) bool {
	if !p.began {
		return true
	}
	p.mu.Lock()
	ends := !p.lost && (p.complete || dead && p.passing)
	p.mu.Unlock()
	if !p.over {
		select {
		case <-p.done:
		default:
			if !ends {
				return false
			}
			if dead {
				p.s.Abort()
			}
			<-p.done
		}
		p.over = true
	}
	return !p.lost && !p.gone && len(p.r.x.Trailers.Fields) == 0
}

// rewind readies the next try after halt: it begins with what is kept, and goes on with the client's next piece.
func (r *run) rewind() {
	p := &r.pump
	if !p.began {
		return
	}
	p.began = false
	if r.body, r.whole = p.kept, p.complete; r.whole && r.timeout > 0 && r.deadline.IsZero() {
		r.deadline = r.x.RequestEnd.Add(r.timeout)
	}
}
