package upstream

import (
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// record is a host's with passive health checking.
type record struct {
	outlier.Series
	ejected atomic.Bool
	times   uint32      // how often it was ejected lately; Host.mu
	until   time.Time   // end of the last ejection; Host.mu
	timer   *time.Timer // ends the ejection; Host.mu
}

// Errors are the statuses of responses that are errors; nil: 5xx.
func (h *Host) Errors() []int { return h.cluster.config().Errors }

// MaxStream is how long a try may last once it has its connection; 0: any time.
func (h *Host) MaxStream() time.Duration { return h.cluster.config().MaxStream }

// Report feeds outlier detection with one try's end.
func (h *Host) Report(r outlier.Result) {
	if cfg := h.cluster.config().Outlier; cfg != nil && h.outlier.Add(cfg, r) {
		h.eject(cfg)
	}
}

// eject takes the host out for at least the base time times the number of recent ejections, unless too many would be out then.
func (h *Host) eject(cfg *outlier.Config) {
	c := h.cluster
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired || h.outlier.ejected.Load() || !cfg.Equal(c.config().Outlier) || !c.spares(cfg) {
		return
	}
	now := time.Now()
	if interval := cfg.Interval; interval > 0 && !h.outlier.until.IsZero() {
		// Each quiet interval since the last ejection takes one off.
		h.outlier.times -= min(h.outlier.times, uint32(min(now.Sub(h.outlier.until)/interval, 1<<20)))
	}
	h.outlier.times++
	h.outlier.until = c.intervalEnd(now.Add(cfg.Lasts(h.outlier.times)), cfg.Interval)
	h.outlier.ejected.Store(true)
	c.ejected.Add(1)
	h.outlier.timer = time.AfterFunc(h.outlier.until.Sub(now), h.restore)
	go func() { // takes the cluster's lock, which apply holds while it takes ours
		defer c.owner.guard()
		c.reschedule()
	}()
}

// intervalEnd is the end of the interval that t is in. Ejections end at one only, as in Envoy.
func (c *Cluster) intervalEnd(t time.Time, interval time.Duration) time.Time {
	if interval <= 0 {
		return t
	}
	if over := t.Sub(c.born) % interval; over > 0 {
		t = t.Add(interval - over)
	}
	return t
}

// spares says whether one more host may be ejected. As in Envoy, a share of a few hosts may be none.
func (c *Cluster) spares(cfg *outlier.Config) bool {
	out := c.ejected.Load()
	return out == 0 && cfg.AlwaysOne || 100*(out+1) <= int64(cfg.MaxEjectionPercent)*int64(len(c.Hosts()))
}

// restore ends an ejection. All series begin anew, as in Envoy: one that was not what had the host ejected may be near its limit.
func (h *Host) restore() {
	defer h.cluster.owner.guard()
	if !h.outlier.ejected.CompareAndSwap(true, false) {
		return
	}
	h.outlier.Begin()
	h.cluster.ejected.Add(-1)
	h.cluster.reschedule()
}

// pardon ends an ejection early: a health check has passed, which Envoy takes for better evidence.
func (h *Host) pardon() {
	if !h.outlier.ejected.Load() {
		return
	}
	h.mu.Lock()
	ended := h.outlier.timer.Stop() // else it is about to do the same
	if ended {
		h.outlier.until = time.Now()
	}
	h.mu.Unlock()
	if ended {
		h.restore()
	}
}

// acquit has all hosts begin with a clean record after the rules for it have changed, as in Envoy: what had them ejected may be allowed now. It
// says whether that ended an ejection. c.mu is held, and the new rules are in force.
func (c *Cluster) acquit() bool {
	ended := false
	for _, h := range c.hosts {
		ended = h.acquit() || ended
	}
	for h := range c.onDemand {
		ended = h.acquit() || ended
	}
	if last := c.state.Load().last; last != nil {
		ended = last.acquit() || ended
	}
	return ended
}

func (h *Host) acquit() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outlier.Begin()
	h.outlier.times, h.outlier.until = 0, time.Time{}
	if h.outlier.timer != nil {
		h.outlier.timer.Stop()
	}
	ended := h.outlier.ejected.CompareAndSwap(true, false) // else restore was faster
	if ended {
		h.cluster.ejected.Add(-1)
	}
	return ended
}

// Ejected says whether outlier detection holds the host back.
func (h *Host) Ejected() bool { return h.outlier.ejected.Load() }
