package engine

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

const (
	lookAgain = 100 * time.Millisecond
	// settle is how long nothing may go on before an edge's clients, or an application whose time is over, count as finished.
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
	switch {
	case e.late.Load():
		limit = 0
	case e.replaced.Load(): // everybody may go elsewhere, which is here
		e.manager.Drain(exchange.Inbound)
		e.manager.Drain(exchange.Outbound)
		if t.Restart > 0 {
			limit = t.Restart
		}
		limit -= e.awaitQuiet(limit)
	case t.Alone || e.finished.Load():
		limit = min(limit, alone)
	case t.Ended != nil:
		limit = e.awaitApplication()
	default:
		limit -= e.awaitQuiet(limit)
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(limit, lookAgain))
	defer cancel()
	if cut := e.manager.Shutdown(ctx); cut > 0 {
		e.options.Log.Warn("connections cut at the end of draining", "count", cut)
	}
}

// ApplicationEnded says that nobody beside this proxy needs it any more.
func (e *Engine) ApplicationEnded() { e.finished.Store(true) }

// dismiss ends the process in an orderly way: the application says that it asks for nothing more.
func (e *Engine) dismiss() {
	e.dismissed.Store(true)
	e.options.Quit()
}

// awaitApplication serves an application that was told to end together with this proxy, and that may fall silent and still ask for
// something before it does. It waits until the application is known to have ended; else for the drain duration, and beyond that while
// something goes on; and at most until the grace period is nearly over. It returns how long connections may go on then.
func (e *Engine) awaitApplication() time.Duration {
	t, start, quietSince := e.options.Termination, time.Now(), time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		if t.Ended(ctx) {
			e.ApplicationEnded()
		}
	}()
	limit := t.Drain
	if t.Grace > 0 {
		limit = max(t.Grace-reserve, 0)
	}
	for time.Since(start) < limit {
		if e.inUse() {
			quietSince = time.Now()
		}
		silent := time.Since(quietSince) >= settle && (time.Since(start) >= t.Drain || e.dismissed.Load())
		if silent || e.finished.Load() {
			return min(limit-time.Since(start), alone)
		}
		time.Sleep(lookAgain)
	}
	return 0
}

// awaitQuiet waits until nothing has gone on for a while, at most for limit, and returns how long that took. Clients that have not yet
// heard may still open new connections.
func (e *Engine) awaitQuiet(limit time.Duration) time.Duration {
	start, quietSince := time.Now(), time.Now()
	for time.Since(start) < limit {
		if e.inUse() {
			quietSince = time.Now()
		} else if time.Since(quietSince) >= settle {
			break
		}
		time.Sleep(lookAgain)
	}
	return time.Since(start)
}

// busy says whether anybody is being served.
func (e *Engine) busy() bool {
	for _, direction := range []exchange.Direction{exchange.Inbound, exchange.Outbound} {
		if _, busy := e.manager.Count(direction); busy > 0 {
			return true
		}
	}
	return false
}

// inUse says whether somebody would miss us: of those told to go, who is being served; of all others, who is connected.
func (e *Engine) inUse() bool {
	for _, direction := range []exchange.Direction{exchange.Inbound, exchange.Outbound} {
		open, busy := e.manager.Count(direction)
		if e.replaced.Load() || slices.Contains(e.options.Drains, direction) {
			open = busy
		}
		if open > 0 {
			return true
		}
	}
	return false
}
