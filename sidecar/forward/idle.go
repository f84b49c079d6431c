package forward

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// idler ends an exchange in which nothing comes from the client nor from the upstream for the idle timeout, while the request is still being carried: a
// goroutine waits for either, and neither knows when the other has heard something. Where the whole request was there from the start, the deadline of
// the upstream's stream does.
type idler struct {
	last atomic.Int64 // when something came, unix nanoseconds

	mu    sync.Mutex // of what follows
	timer *time.Timer
	most  time.Duration
	on    bool
	fired bool
	x     *exchange.Exchange
}

// start begins to count, unless it does already; most is the timeout, 0: none.
func (i *idler) start(x *exchange.Exchange, most time.Duration) {
	if most == 0 {
		return
	}
	i.heard()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.on {
		return
	}
	i.x, i.most, i.on = x, most, true
	if i.timer == nil {
		i.timer = time.AfterFunc(most, i.tick)
		return
	}
	i.timer.Reset(most)
}

// heard notes that something came.
func (i *idler) heard() { i.last.Store(time.Now().UnixNano()) }

// counts says whether the exchange is watched.
func (i *idler) counts() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.on
}

func (i *idler) tick() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.on {
		return
	}
	if left := i.most - time.Since(time.Unix(0, i.last.Load())); left > 0 {
		i.timer.Reset(left)
		return
	}
	i.on, i.fired = false, true
	i.x.Cancel()
}

// stop ends it, and says whether it has ended the exchange. A tick that is late does nothing to the next exchange.
func (i *idler) stop() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	fired := i.fired
	i.on, i.fired, i.x = false, false, nil
	if i.timer != nil {
		i.timer.Stop()
	}
	return fired
}

// bound ends the exchange once it has lasted, from its beginning on and with its response, as long as it may.
func (r *run) bound() {
	if r.most, r.asked = r.said(); !r.asked {
		r.most = r.longest()
	}
	if r.most > 0 {
		r.lasting.start(r.x, max(r.most-time.Since(r.x.Start), 1))
	}
}

// longest is how long the exchange may last, as its route says or else its listener; 0: any time.
func (r *run) longest() time.Duration {
	if r.route != nil && r.route.MaxStream != nil {
		return *r.route.MaxStream
	}
	return r.http.MaxStream
}
