package engine

import (
	"math"
	"runtime"
	"testing"
	"time"
)

// TestPressure: requests are refused from where memory is nearly full until there is room again, and what no collection has looked at for a while is looked at.
func TestPressure(t *testing.T) {
	p := &pressure{limit: 1000}
	for _, c := range []struct {
		used uint64
		want bool
	}{{0, false}, {849, false}, {850, true}, {700, true}, {699, false}, {849, false}, {5000, true}, {0, false}} {
		if p.judge(c.used); p.full.Load() != c.want {
			t.Errorf("%d of 1000: %t", c.used, p.full.Load())
		}
	}
	never := newPressure()
	never.limit = math.MaxInt64
	never.look(time.Now())
	if never.full.Load() {
		t.Error("without a limit, memory is full")
	}
	runtime.GC() // there is something live to be seen
	here := newPressure()
	here.limit = 1
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
