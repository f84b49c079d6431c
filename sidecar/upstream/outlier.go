package upstream

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

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

// eject takes the host out, unless too many would be out then.
func (h *Host) eject(cfg *outlier.Config) {
	c := h.cluster
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired || h.Ejected() || !cfg.Equal(c.config().Outlier) || !c.spares(cfg) {
		return
	}
	c.ejected.Add(1)
	h.outlier.Eject(cfg, c.born, h.restore)
	go func() { // takes the cluster's lock, which apply holds while it takes ours
		defer c.owner.guard()
		c.reschedule()
	}()
}

// spares says whether one more host may be ejected. As in Envoy, a share of a few hosts may be none.
func (c *Cluster) spares(cfg *outlier.Config) bool {
	out := c.ejected.Load()
	return out == 0 && cfg.AlwaysOne || 100*(out+1) <= int64(cfg.MaxEjectionPercent)*int64(len(c.Hosts()))
}

// restore ends an ejection.
func (h *Host) restore() {
	defer h.cluster.owner.guard()
	if h.outlier.Release() {
		h.cluster.ejected.Add(-1)
		h.cluster.reschedule()
	}
}

// pardon ends an ejection early: a health check has passed, which Envoy takes for better evidence.
func (h *Host) pardon() {
	if !h.Ejected() {
		return
	}
	h.mu.Lock()
	ended := h.outlier.End()
	h.mu.Unlock()
	if ended {
		h.cluster.ejected.Add(-1)
		h.cluster.reschedule()
	}
}

// acquit has all hosts begin with a clean record after the rules for it have changed, as in Envoy: what had them ejected may be allowed now. It
// says whether that ended an ejection. c.mu is held, and the new rules are in force.
func (c *Cluster) acquit() bool {
	before := c.ejected.Load()
	for _, h := range c.hosts {
		h.acquit()
	}
	for h := range c.onDemand {
		h.acquit()
	}
	if last := c.state.Load().last; last != nil {
		last.acquit()
	}
	return before > 0
}

func (h *Host) acquit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.outlier.Forget() {
		h.cluster.ejected.Add(-1)
	}
}

// Ejected says whether outlier detection holds the host back.
func (h *Host) Ejected() bool { return h.outlier.Ejected() }
