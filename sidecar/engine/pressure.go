package engine

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/config"
)

const (
	// pressed is the part of the memory limit, in percent, of which live objects take up more when the proxy begins to refuse requests. Where those that it
	// has at rest come near it, they may grow by room first: refusing requests makes a configuration no smaller. It ceases at margin less.
	pressed, room, margin = 85, 10, 5
	// lookEvery is how often memory is looked at, and stale how long what the last collection found counts while the proxy refuses requests: with few of
	// them, there might be no next one.
	lookEvery, stale = 250 * time.Millisecond, time.Second
	// settled is how many collections have to end until what the last one found is of the configuration in force: the first may have begun before.
	settled = 2
)

// pressure says whether the proxy's memory is full: with what connections, slow ones above all, have it keep. Its limit is Go's (GOMEMLIMIT), which pods
// have from their container's limit; where there is none, memory is never full.
type pressure struct {
	full    atomic.Bool
	grown   atomic.Bool // the configuration has, since anybody looked
	limit   int64
	quiet   func() bool // nothing goes on
	cycles  uint64
	since   time.Time // when that many cycles were seen first
	rest    uint64    // bytes: the least that a collection found live since the configuration has grown
	unknown int       // so many collections are to end before rest is known
	samples []metrics.Sample

	objects int // of the configuration; only swapped uses it
}

func newPressure(quiet func() bool) *pressure {
	return &pressure{limit: debug.SetMemoryLimit(-1), quiet: quiet, samples: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}}
}

// Memory sees to it that requests are refused where memory is full, also of a proxy that drains.
func (e *Engine) Memory() lifecycle.Component {
	return lifecycle.Component{Name: "memory", Run: e.pressure.run}
}

// run looks until ctx ends.
func (p *pressure) run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			p.look(now)
		case <-ctx.Done():
			return nil
		}
	}
}

// swapped is told of each configuration that comes into force. One that is much larger has another level at rest; one goroutine calls it.
func (p *pressure) swapped(c *config.Config) {
	n := len(c.Listeners) + len(c.Clusters) + len(c.Endpoints) + len(c.Routes)
	if n > p.objects+p.objects/8 {
		p.grown.Store(true)
	} else if n >= p.objects {
		return // little by little is much, too
	}
	p.objects = n
}

// look finds out how things are.
func (p *pressure) look(now time.Time) {
	if p.limit == math.MaxInt64 {
		return
	}
	metrics.Read(p.samples)
	cycles := p.samples[2].Value.Uint64()
	p.judge(p.samples[0].Value.Uint64()+p.samples[1].Value.Uint64(), int(cycles-p.cycles))
	if cycles != p.cycles {
		p.cycles, p.since = cycles, now
	} else if (p.full.Load() || p.unknown > 0) && now.Sub(p.since) >= stale {
		runtime.GC()
	}
}

// judge is told how many bytes are in use, and how many collections have ended since it was told last.
func (p *pressure) judge(used uint64, ended int) {
	of := func(percent int64) uint64 { return uint64(p.limit / 100 * percent) }
	if p.grown.Swap(false) {
		p.unknown = settled
	} else if p.unknown > 0 && ended > 0 {
		if p.unknown -= ended; p.unknown <= 0 {
			p.unknown, p.rest = 0, used
		}
	}
	if p.unknown > 0 {
		return
	}
	if ended > 0 && (used < p.rest || used >= of(pressed-margin) && p.quiet()) {
		p.rest = used
	}
	switch most := max(of(pressed), p.rest+of(room)); {
	case used >= most:
		p.full.Store(true)
	case used < most-of(margin):
		p.full.Store(false)
	}
}
