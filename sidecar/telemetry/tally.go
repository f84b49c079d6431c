package telemetry

import "sync"

// tally counts by reasons, of which there are few: they are constants of this program.
type tally struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (t *tally) count(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]uint64{}
	}
	t.n[reason]++
}

func (t *tally) each(f func(reason string, n uint64)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for reason, n := range t.n {
		f(reason, n)
	}
}
