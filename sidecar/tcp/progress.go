package tcp

import (
	"cmp"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// paces are the relays by how often they are reported on, as their listeners say.
type paces struct {
	recorder exchange.Recorder
	log      *slog.Logger

	mu sync.Mutex
	by map[time.Duration]*progress
}

// of is where relays of a listener are reported on.
func (p *paces) of(via *exchange.Via) *progress {
	every := cmp.Or(via.Reporting, progressEvery)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = map[time.Duration]*progress{}
	}
	if p.by[every] == nil {
		p.by[every] = &progress{recorder: p.recorder, log: p.log, every: every}
	}
	return p.by[every]
}

// progress tells the recorder now and then how far open relays have come: one goroutine for all of them, while there are any.
type progress struct {
	every    time.Duration
	recorder exchange.Recorder
	log      *slog.Logger

	mu   sync.Mutex
	open map[*relay]struct{}
	runs bool
}

func (p *progress) join(r *relay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[*relay]struct{}{}
	}
	p.open[r] = struct{}{}
	if !p.runs {
		p.runs = true
		go p.run()
	}
}

// leave ends it for a relay: nobody else looks at its counts from here on.
func (p *progress) leave(r *relay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, r)
}

func (p *progress) run() {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for range tick.C {
		if !p.tell() {
			return
		}
	}
}

// tell reports on every relay; false: there is none any more.
func (p *progress) tell() (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("recovered from a panic while reporting on connections", "panic", v, "stack", string(debug.Stack()))
			p.recorder.Panicked()
		}
	}()
	p.runs = len(p.open) > 0
	more = p.runs
	for r := range p.open {
		if received, sent := r.delta(); received != 0 || sent != 0 {
			p.recorder.Progress(r.facts, received, sent)
		}
	}
	return more
}
