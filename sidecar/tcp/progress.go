package tcp

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// progress tells the recorder now and then how far open relays have come: one goroutine for all of them, while there are any.
type progress struct {
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
	tick := time.NewTicker(progressEvery)
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
