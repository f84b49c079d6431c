package forward

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// pump carries a request body (or a tunnel's way up) in a second goroutine while the first one waits for, and relays, the
// response.
type pump struct {
	began bool // for this try
	over  bool // and done was received
	done  chan struct{}

	kept []byte // the body so far, for another try
	lost bool   // it grew too long for that
	gone bool   // the client failed
	bad  bool   // what it sent is no body

	mu       sync.Mutex
	passing  bool // a piece is on its way to the upstream
	complete bool // the last piece was read
	settled  bool // the response's head has come: nobody need watch the client for the first goroutine
	watches  bool
	due      time.Time // the request's deadline, known since its body ended; zero: none
	r        *run
	s        exchange.Stream
}

// start begins to carry.
func (p *pump) start(r *run, s exchange.Stream) {
	if p.done == nil {
		p.done = make(chan struct{}, 1)
	}
	p.began, p.over, p.settled, p.watches, p.r, p.s = true, false, false, false, r, s
	p.passing, p.complete, p.gone, p.bad, p.due = false, false, false, false, time.Time{}
	go p.carry()
}

func (p *pump) carry() {
	defer func() { p.done <- struct{}{} }()
	defer p.recover()
	r, s := p.r, p.s
	for {
		piece, end, err := r.d.ReadBody()
		if err == exchange.ErrAborted {
			return
		}
		if err != nil {
			p.gone, p.bad = true, err == exchange.ErrProtocol || err == exchange.ErrTooLarge
			r.x.Cancel()
			return
		}
		p.keep(piece, end)
		r.x.Received += int64(len(piece))
		for _, m := range r.mirrors {
			m.add(piece, end)
		}
		if err := p.pass(piece, end); err != nil {
			return // the response, if there is one, tells why
		}
		if end {
			p.ended()
			return
		}
		if err := s.Flush(); err != nil {
			return
		}
	}
}

func (p *pump) pass(piece exchange.View, end bool) error {
	defer p.passed()
	trailers := end && len(p.r.x.Trailers.Fields) > 0
	if len(piece) > 0 || end && !trailers {
		if err := p.s.WriteBody(piece, end && !trailers); err != nil {
			return err
		}
	}
	if trailers {
		return p.s.WriteTrailers(&p.r.x.Trailers)
	}
	return nil
}

// ended notes that the upstream has the whole request: the timeout begins, and the client is watched from here.
func (p *pump) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.r.x.RequestEnd = now
	if p.settled {
		return
	}
	if p.r.timeout > 0 {
		p.due = now.Add(p.r.timeout)
		if until := p.r.until; until.IsZero() || p.due.Before(until) {
			p.s.SetDeadline(p.due)
		}
	}
	p.watches = true
	p.r.d.Watch()
}

// settle ends the watch that ended may have begun, and tells r its deadline.
func (p *pump) settle(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.due.IsZero() {
		r.deadline = p.due
	}
	if p.settled = true; p.watches {
		p.watches = false
		p.r.d.Unwatch()
	}
}

// stop ends the carrying, whatever it waits for, and waits for its end.
func (p *pump) stop() {
	if !p.began {
		return
	}
	if !p.over {
		select {
		case <-p.done:
		default:
			p.r.d.StopBody()
			p.s.Abort()
			<-p.done
		}
	}
	p.began = false
}

func (p *pump) recover() {
	if v := recover(); v != nil {
		p.r.p.log.Error("recovered from a panic while carrying a request body", "panic", v, "stack", string(debug.Stack()))
		p.r.p.recorder.Panicked()
		p.r.x.Cancel()
	}
}
