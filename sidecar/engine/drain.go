package engine

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	lookAgain = 100 * time.Millisecond
	// settle is how long no connection may be open before an application beside us counts as finished.
	settle = 3 * time.Second
	// alone is how long connections may go on when there is nobody behind them any more.
	alone = 5 * time.Second
	// reserve is kept of the grace period for an orderly exit.
	reserve = 2 * time.Second
)

type drainState struct{ since atomic.Int64 } // unix nanoseconds; 0: not begun

func (d *drainState) begun() bool { return d.since.Load() != 0 }

func (d *drainState) begin() bool { return d.since.CompareAndSwap(0, time.Now().UnixNano()) }

// Drain asks clients to go elsewhere and goes on serving those that come.
func (e *Engine) Drain() {
	if !e.drained.begin() {
		return
	}
	e.options.Log.Info("draining", "open", e.manager.Open())
	for _, direction := range e.options.Drains {
		e.manager.Drain(direction)
	}
}

// terminate serves as long as somebody may need it, and then ends what is open.
func (e *Engine) terminate() {
	e.Drain()
	t := e.options.Termination
	limit := t.Drain
	if t.Grace > 0 {
		limit = min(limit, max(t.Grace-reserve, 0))
	}
	if t.Alone {
		limit = min(limit, alone)
	} else {
		limit -= e.awaitQuiet(limit)
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(limit, lookAgain))
	defer cancel()
	if cut := e.manager.Shutdown(ctx); cut > 0 {
		e.options.Log.Warn("connections cut at the end of draining", "count", cut)
	}
}

// awaitQuiet waits until no connection has been open for a while, at most for limit, and returns how long that took. The application beside
// us, or clients that have not yet heard, may still open new ones.
func (e *Engine) awaitQuiet(limit time.Duration) time.Duration {
	start, quietSince := time.Now(), time.Now()
	for time.Since(start) < limit {
		if e.manager.Open() > 0 {
			quietSince = time.Now()
		} else if time.Since(quietSince) >= settle {
			break
		}
		time.Sleep(lookAgain)
	}
	return time.Since(start)
}
