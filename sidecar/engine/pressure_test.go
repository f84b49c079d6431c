package engine

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

func busy() bool { return false }

// TestPressure: requests are refused from where memory is nearly full until there is room again, and what no collection has looked at for a while is looked at.
func TestPressure(t *testing.T) {
	p := &pressure{limit: 1000, quiet: busy}
	for _, c := range []struct {
		used uint64
		want bool
	}{{0, false}, {849, false}, {850, true}, {800, true}, {799, false}, {849, false}, {5000, true}, {0, false}} {
		if p.judge(c.used, 1); p.full.Load() != c.want {
			t.Errorf("%d of 1000: %t", c.used, p.full.Load())
		}
	}
	never := newPressure(busy)
	never.limit = math.MaxInt64
	never.look(time.Now())
	if never.full.Load() {
		t.Error("without a limit, memory is full")
	}
	runtime.GC() // there is something live to be seen
	here := newPressure(busy)
	here.limit = 100
	now := time.Now()
	here.look(now)
	if !here.full.Load() {
		t.Fatal("a byte is enough")
	}
	before := here.cycles
	here.look(now.Add(time.Minute))
	if here.look(now.Add(time.Minute)); here.cycles == before {
		t.Error("nobody looks again")
	}
	here.limit = 1 << 50
	if here.look(now.Add(time.Minute)); here.full.Load() {
		t.Error("it does not end")
	}
}

// sized is a configuration of so many clusters.
func sized(n int) *config.Config {
	c := &config.Config{Clusters: map[string]*upstream.Config{}}
	for i := range n {
		c.Clusters[fmt.Sprint(i)] = nil
	}
	return c
}

// TestPressureOfTheConfiguration: what a configuration takes up is not laid to connections: however large it is, the proxy serves, refuses when connections add
// to it, and serves again when they have gone.
func TestPressureOfTheConfiguration(t *testing.T) {
	for _, c := range []struct{ rest, spike, after uint64 }{
		{rest: 600, spike: 860, after: 600},
		{rest: 720, spike: 860, after: 720}, // a level below which it would have to fall is above it
		{rest: 790, spike: 900, after: 800},
		{rest: 840, spike: 950, after: 850},
		{rest: 900, spike: 1000, after: 910},
		{rest: 1100, spike: 1200, after: 1110},
	} {
		p := &pressure{limit: 1000, quiet: busy}
		p.judge(10, 1)
		p.swapped(sized(1000))
		for range 4 {
			if p.judge(c.rest, 1); p.full.Load() {
				t.Errorf("%d: the configuration alone fills it", c.rest)
			}
		}
		if p.judge(c.spike, 1); !p.full.Load() {
			t.Errorf("%d: %d more are no pressure", c.rest, c.spike-c.rest)
		}
		if p.judge(c.after, 1); p.full.Load() {
			t.Errorf("%d: it refuses requests for ever", c.rest)
		}
	}
}

// TestPressureOfAChange: swaps that change little do not make what connections take up the configuration's; one that grows, while requests are refused too,
// has the proxy serve again; and what is there when nothing goes on is not connections'.
func TestPressureOfAChange(t *testing.T) {
	quiet := false
	p := &pressure{limit: 1000, quiet: func() bool { return quiet }}
	p.swapped(sized(1000))
	for range 4 {
		p.judge(500, 1)
	}
	for used := uint64(500); used <= 860; used += 10 {
		p.swapped(sized(1000 + int(used)%7))
		p.judge(used, 1)
	}
	if !p.full.Load() {
		t.Error("slow connections between many swaps are no pressure")
	}
	p.swapped(sized(2000))
	p.judge(900, 0)
	if p.judge(900, 1); !p.full.Load() {
		t.Error("a collection that may have begun before the swap counts")
	}
	if p.judge(900, 1); p.full.Load() {
		t.Error("a larger configuration has it refuse requests")
	}
	p.rest = 500
	if p.judge(900, 1); !p.full.Load() {
		t.Fatal("there is no pressure")
	}
	quiet = true
	if p.judge(900, 0); !p.full.Load() {
		t.Error("what nobody has looked at anew counts")
	}
	if p.judge(900, 1); p.full.Load() {
		t.Error("it refuses requests though none goes on")
	}
}

// TestMemoryIsLookedAt: by a component of its own, whether or not listeners drain.
func TestMemoryIsLookedAt(t *testing.T) {
	runtime.GC()
	workload := identity.New(identity.Options{Roots: identity.NewRoots("none"), Log: slog.New(slog.DiscardHandler)})
	e := New(Options{Identity: workload, Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}})
	e.pressure.limit, e.pressure.quiet = 100, busy
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Memory().Run(ctx) }()
	for until := time.Now().Add(30 * time.Second); !e.pressure.full.Load(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nobody looks")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
