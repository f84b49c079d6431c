package engine

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// pressed and relieved are the parts of the memory limit, in percent, of which live objects take up more, or less, when the proxy begins, or ceases, to
	// refuse requests.
	pressed, relieved = 85, 70
	// lookEvery is how often memory is looked at, and stale how long what the last collection found counts while the proxy refuses requests: with few of
	// them, there might be no next one.
	lookEvery, stale = 250 * time.Millisecond, time.Second
)

// pressure says whether the proxy's memory is full: with what connections, slow ones above all, have it keep. Its limit is Go's (GOMEMLIMIT), which pods
// have from their container's limit; where there is none, memory is never full.
type pressure struct {
	full    atomic.Bool
	limit   int64
	cycles  uint64
	since   time.Time // when that many cycles were seen first
	samples []metrics.Sample
}

func newPressure() *pressure {
	return &pressure{limit: debug.SetMemoryLimit(-1), samples: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}}
}

// look finds out how things are.
func (p *pressure) look(now time.Time) {
	if p.limit == math.MaxInt64 {
		return
	}
	metrics.Read(p.samples)
	p.judge(p.samples[0].Value.Uint64() + p.samples[1].Value.Uint64())
	if cycles := p.samples[2].Value.Uint64(); cycles != p.cycles {
		p.cycles, p.since = cycles, now
	} else if p.full.Load() && now.Sub(p.since) >= stale {
		runtime.GC()
	}
}

// judge is told how many bytes are in use.
func (p *pressure) judge(used uint64) {
	of := func(percent int64) uint64 { return uint64(p.limit / 100 * percent) }
	switch {
	case used >= of(pressed):
		p.full.Store(true)
	case used < of(relieved):
		p.full.Store(false)
	}
}
