package forward

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// halt ends what the pump does for a try that has failed, and says whether the request can be sent again as far as its body goes: nothing of it was taken from the
// client but what is kept. A pump that waits for the client is left as it is, parked, for the next try to take over: a request that comes by and by, as gRPC's streams
// do, can be sent again before the client says more. Where halt says yes the try's stream is not used again.
func (p *pump) halt() bool {
	if !p.began || p.over {
		return !p.began || !p.lost && !p.gone
	}
	p.endResending()
	p.mu.Lock()
	if p.lost {
		p.mu.Unlock()
		return false
	}
	p.parked = true
	p.abort()
	for p.passing {
		p.wake.Wait()
	}
	if p.parked = !p.complete && !p.broken; p.parked {
		p.s = nil
		p.bounds()
	}
	p.mu.Unlock()
	return p.ends()
}

// abort ends the try's stream. mu is held.
func (p *pump) abort() {
	if p.s != nil {
		p.s.Abort()
	}
}

// ends waits for a goroutine that is not parked, and says whether the client has not failed.
func (p *pump) ends() bool {
	if p.parked {
		select {
		default:
			return true
		case <-p.done:
		}
	} else {
		<-p.done
	}
	p.over, p.parked = true, false
	return !p.gone
}

// turn has a parked pump go on to another stream, once that has what is kept: what is long is sent by a goroutine of its own, as in start.
func (p *pump) turn(s exchange.Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s, p.settled, p.waits, p.bound, p.until = s, false, true, time.Time{}, time.Time{}
	p.bounds()
	if p.resends = p.again; !p.resends {
		p.unpark()
		return
	}
	if p.resent == nil {
		p.resent = make(chan struct{}, 1)
	}
	go p.sendKept(s)
}

// await waits, with mu held, until a try has taken the pump over or nobody wants the body. Meanwhile nobody reads the client, and it is watched.
func (p *pump) await() {
	for p.parked && !p.stopped {
		p.r.d.Watch()
		p.wake.Wait()
		p.mu.Unlock()
		p.r.d.Unwatch()
		p.mu.Lock()
	}
}

// unpark is called with mu held.
func (p *pump) unpark() {
	p.parked = false
	p.wake.Broadcast()
}

// sendKept sends what is kept to the stream that takes over. The client is watched by who waits for its next piece.
func (p *pump) sendKept(s exchange.Stream) {
	defer func() { p.resent <- struct{}{} }()
	defer p.recover()
	if s.WriteBody(p.kept, false) != nil || s.Flush() != nil {
		return // the response, if there is one, tells why
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unpark()
}

// endResending ends what sendKept does.
func (p *pump) endResending() {
	if !p.resends {
		return
	}
	select {
	case <-p.resent:
	default:
		p.s.Abort()
		<-p.resent
	}
	p.resends = false
}

// release has the goroutine end, whatever it waits for. One that has passed everything on is about to, and its stream may serve again.
func (p *pump) release() {
	p.mu.Lock()
	if p.finished && !p.tunnels {
		p.mu.Unlock()
		return
	}
	read, s := p.complete, p.s
	p.stopped = true
	p.wake.Broadcast()
	p.mu.Unlock()
	if !read {
		p.r.d.StopBody()
	}
	if s != nil {
		s.Abort()
	}
}

// parks says whether the pump's goroutine reads the client, though no try has its body.
func (p *pump) parks() bool { return p.began && p.parked }

// unwatched is a client that is read, so that nobody must watch it.
type unwatched struct{}

func (unwatched) Watch()   {}
func (unwatched) Unwatch() {}
