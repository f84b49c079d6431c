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

	kept    []byte // the body so far, for another try
	counted int    // how much of it counts with what others keep
	lost    bool   // it grew too long for that
	again   bool   // the try begins with it
	gone    bool   // the client failed
	bad     bool   // what it sent is no body

	overdue bool // the request was given up just before its end

	tunnels bool // what is carried is no request: its end says nothing about the client

	resends bool // a third goroutine sends what is kept to the stream that takes over
	resent  chan struct{}

	mu       sync.Mutex
	wake     sync.Cond // parked or stopped has changed
	parked   bool      // the goroutine waits for the client, and no try has its body
	stopped  bool      // nobody wants the body any more
	broken   bool      // the upstream's stream took no more
	passing  bool      // a piece is on its way to the upstream
	complete bool      // the last piece was read
	arrived  time.Time // when it was, at first; zero: not yet
	finished bool      // the upstream has the whole request
	settled  bool      // the response's head has come
	waits    bool      // the first goroutine waits for the response: once nothing more is read from the client, it is watched
	watches  bool
	due      time.Time // the request's deadline, known since its body ended; zero: none
	until    time.Time // the try's deadline, likewise
	bound    time.Time // the stream's deadline as the first goroutine has set it since; zero: none
	r        *run
	s        exchange.Stream
}

// start begins to carry; a parked pump goes on, to another stream.
func (p *pump) start(r *run, s exchange.Stream) {
	if p.parked {
		p.turn(s)
		return
	}
	if p.done == nil {
		p.done, p.wake.L = make(chan struct{}, 1), &p.mu
	}
	p.stopped, p.broken, p.until = false, false, time.Time{}
	p.began, p.over, p.finished, p.settled, p.waits, p.watches, p.r, p.s = true, false, false, false, true, false, r, s
	p.passing, p.complete, p.gone, p.bad, p.due, p.bound = p.again, p.again && p.complete, false, false, time.Time{}, time.Time{}
	r.idler.start(r.x, r.idle())
	p.bounds()
	go p.carry(p.again)
}

// bounds bounds the time that the whole request may take, from its beginning and whatever tries there are.
func (p *pump) bounds() {
	r := p.r
	if most := r.http.RequestTimeout; most > 0 && !p.tunnels && !p.complete && !r.overdue.counts() {
		r.overdue.start(r.x, max(most-time.Since(r.x.Start), 1))
	}
}

func (p *pump) carry(again bool) {
	defer func() { p.done <- struct{}{} }()
	defer p.recover()
	r := p.r
	if again && !p.resend() {
		return
	}
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
		r.idler.heard()
		if !p.keep(piece, end) {
			return
		}
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
	}
}

// pass passes a piece on, and lets it leave unless it is the last. Meanwhile nobody reads the client, and it is watched: an upstream that takes nothing must
// not hide that the client is gone. That a tunnel's client has ended says nothing about the other way.
func (p *pump) pass(piece exchange.View, end bool) error {
	err := p.write(piece, end)
	if err == nil && !end {
		err = p.s.Flush()
	}
	p.passed(err)
	return err
}

func (p *pump) write(piece exchange.View, end bool) error {
	if !p.tunnels {
		p.r.d.Watch()
		defer p.r.d.Unwatch()
	}
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

// ended notes that the upstream has the whole request: the timeouts begin, and the client is watched from here.
func (p *pump) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, now := p.r, time.Now()
	sent := !r.x.RequestEnd.IsZero() // to an earlier try, or at least read: this one's limits are known
	if !sent || p.tunnels {
		r.x.RequestEnd = now
	}
	p.overdue = r.overdue.stop() || p.overdue
	if p.finished = true; p.tunnels {
		return
	}
	var until time.Time
	if r.timeout > 0 {
		p.due = r.x.RequestEnd.Add(r.timeout)
		until = p.due
	}
	perTry := r.perTry
	switch {
	case p.settled: // an early answer has ended the wait for one
		perTry = 0
	case sent:
		perTry, until = 0, first(until, r.until)
	}
	for _, most := range []time.Duration{perTry, r.tryIdle} {
		if t := now.Add(most); most > 0 && (until.IsZero() || t.Before(until)) {
			until = t
		}
	}
	p.until = until
	if bound := p.bound; !until.IsZero() && (bound.IsZero() || until.Before(bound)) {
		p.s.SetDeadline(r.ending(until))
	}
	p.watch()
}

// watch watches the client while the first goroutine waits and nobody reads the client.
func (p *pump) watch() {
	if p.waits && p.finished && !p.tunnels && !p.watches {
		p.watches = true
		p.r.d.Watch()
	}
}

// leave ends the wait, and the watch that may have begun.
func (p *pump) leave() {
	if p.waits = false; p.watches {
		p.watches = false
		p.r.d.Unwatch()
	}
}

// sent says whether the upstream has the whole request.
func (p *pump) sent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.began || p.finished && !p.tunnels
}

// settle ends the wait for the response's head, and tells r its deadlines.
func (p *pump) settle(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.deadline, r.until = p.learn(r.deadline), first(p.until, r.until)
	p.settled = true
	p.overdue = r.overdue.stop() || p.overdue
	p.leave()
}

// learn is the request's deadline as far as it is known by now.
func (p *pump) learn(known time.Time) time.Time {
	if p.began && !p.due.IsZero() {
		return p.due
	}
	return known
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
			p.release()
			<-p.done
		}
	}
	p.endResending()
	p.began, p.parked = false, false
}

func (p *pump) recover() {
	if v := recover(); v != nil {
		p.r.p.log.Error("recovered from a panic while carrying a request body", "panic", v, "stack", string(debug.Stack()))
		p.r.p.recorder.Panicked()
		p.r.x.Cancel()
	}
}
