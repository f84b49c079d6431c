package upstream

import (
	"math"
	"math/rand/v2"
	"time"
)

// Warmup has hosts that are new take on their part of the traffic by and by: Envoy's slow start.
type Warmup struct {
	Window     time.Duration // how long it takes
	Least      float64       // the share of its weight that a host has at least, 0 to 1
	Aggression float64       // 1: linear; more: faster in the beginning
}

// factor is the share of its weight that a host has after some time.
func (w *Warmup) factor(age time.Duration) float64 {
	if age >= w.Window {
		return 1
	}
	part := float64(max(age, time.Millisecond)) / float64(w.Window)
	if w.Aggression != 1 {
		part = math.Pow(part, 1/w.Aggression)
	}
	return min(max(part, w.Least), 1)
}

// warmTries bounds how often a choice is made again because its host is still warming up.
const warmTries = 64

// era is since when the hosts of a group are fit, in unix nanoseconds.
type era struct{ first, last int64 }

// eraOf returns the era of hosts; there are some.
func eraOf(hosts []*Host) era {
	e := era{math.MaxInt64, math.MinInt64}
	for _, h := range hosts {
		at := h.since.Load()
		e.first, e.last = min(e.first, at), max(e.last, at)
	}
	return e
}

// date notes the eras of a state's groups, where there is a warm-up.
func (s *state) date() {
	if s.cfg.Warmup == nil {
		return
	}
	for _, g := range s.groups {
		g.era = eraOf(g.schedule)
	}
}

// warming makes choices until one stands: a host has the chance of its factor, compared with that of the host that is there for longest. Where
// all are equally new they are equally good.
func (g *group) warming(w *Warmup, now int64, draw func() *Host) *Host {
	whole := w.factor(time.Duration(now - g.era.first))
	h := draw()
	for range warmTries {
		if f := w.factor(time.Duration(now - h.since.Load())); f >= whole || rand.Float64()*whole < f {
			return h
		}
		h = draw()
	}
	return h
}
