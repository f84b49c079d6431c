package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// CheckKind says how hosts are checked.
type CheckKind uint8

// The kinds.
const (
	CheckHTTP CheckKind = iota
	CheckTCP
	CheckGRPC // grpc.health.v1
)

// Health is active health checking, as Envoy's HealthCheck; a nil pointer means off. Hosts are out until a first check has passed.
type Health struct {
	Kind          CheckKind
	Timeout       time.Duration // of a check, connecting included
	Interval      time.Duration // between the end of a check and the next one
	FirstJitter   time.Duration // at most, before the first one
	Jitter        time.Duration // at most, added to each interval
	JitterPercent uint32        // at most, of each interval
	NoTraffic     time.Duration // the interval while the cluster has never been connected to for traffic
	NoTrafficFit  time.Duration // the same for hosts that are fit
	UnfitInterval time.Duration // the interval of hosts that are out
	UnfitEdge     time.Duration // the interval after a host was taken out
	FitEdge       time.Duration // the interval after a host was let in again
	UnfitAfter    uint32        // failures in a row; some take a host out at once
	FitAfter      uint32        // passes in a row; a host that was never checked needs one
	Reuse         bool          // keep the connection for the next check

	Authority string // HTTP and gRPC; empty: the cluster's name
	// HTTP
	HTTP2     bool
	Method    string
	Path      string
	Headers   [][2]string
	Expected  []StatusRange // fit
	Retriable []StatusRange // counted as a failure; any other status takes the host out at once
	// TCP
	Send    []byte
	Receive [][]byte // all of them, in this order
	// gRPC
	Service string
}

// StatusRange is [From, To).
type StatusRange struct{ From, To int }

func within(ranges []StatusRange, status int) bool {
	for _, r := range ranges {
		if status >= r.From && status < r.To {
			return true
		}
	}
	return false
}

// result is how a check ended.
type result uint8

const (
	pass   result = iota
	lost          // no answer, or one that may be tried again: counted
	refuse        // the host says that it is not fit: out at once
)

// record is what checks have found of a host.
type record struct {
	again    bool   // not the first check
	failures uint32 // in a row, of a host that is fit
	passes   uint32 // in a row, of one that is not
}

// judge takes a check's result for a host that is sick or not, and says what it is now.
func (r *record) judge(c *Health, sick bool, got result) (now bool) {
	first := !r.again
	r.again = true
	switch {
	case got == pass:
		r.failures = 0
		if r.passes++; sick && (first || r.passes >= c.FitAfter) {
			return false
		}
		return sick
	default:
		r.passes = 0
		if r.failures++; !sick && (got == refuse || r.failures >= c.UnfitAfter) {
			return true
		}
		return sick
	}
}

// pause is how long to wait until the next check of a host that is sick or not. changed: it is so since the last one.
func (c *Health) pause(sick, changed, busy bool) time.Duration {
	d := c.Interval
	switch {
	case !busy && !sick:
		d = c.NoTrafficFit
	case !busy:
		d = c.NoTraffic
	case sick && changed:
		d = c.UnfitEdge
	case sick:
		d = c.UnfitInterval
	case changed:
		d = c.FitEdge
	}
	if c.JitterPercent > 0 {
		d += upTo(d * time.Duration(c.JitterPercent) / 100)
	}
	return max(d+upTo(c.Jitter), time.Millisecond)
}

// upTo is a random duration of at most d.
func upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d + 1)
}

// checkAll begins to check hosts that are new and ends it for those that are gone.
func (r *Registry) checkAll(ctx context.Context, checking map[*Host]context.CancelFunc, wg *sync.WaitGroup) {
	wanted := map[*Host]bool{}
	r.Current().Each(func(c *Cluster) {
		if c.config().Health == nil {
			return
		}
		for _, h := range c.Hosts() {
			wanted[h] = true
			if checking[h] != nil {
				continue
			}
			sub, stop := context.WithCancel(ctx)
			checking[h] = stop
			wg.Go(func() { r.keep(sub, h.check) })
		}
	})
	for h, stop := range checking {
		if !wanted[h] {
			stop()
			delete(checking, h)
		}
	}
}

// check checks the host until ctx ends.
func (h *Host) check(ctx context.Context) {
	var found record
	var p prober
	defer p.close()
	for wait, begun := time.Duration(0), false; ; begun = true {
		c := h.cluster.config().Health
		if c == nil {
			return
		}
		if !begun {
			wait = upTo(c.FirstJitter)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		got := p.probe(ctx, h, c)
		if ctx.Err() != nil {
			return
		}
		was := h.sick.Load()
		now := found.judge(c, was, got)
		h.verdict(now)
		if got == pass && !now {
			h.pardon()
		}
		wait = c.pause(now, now != was, h.cluster.busy.Load())
	}
}

// Sick says whether active health checks hold the host back.
func (h *Host) Sick() bool { return h.sick.Load() }

// verdict takes over what checks say of the host.
func (h *Host) verdict(sick bool) {
	c := h.cluster
	if h.sick.Swap(sick) != sick {
		c.reschedule()
	}
	if h.judged.Swap(true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := true
	for _, o := range c.hosts {
		all = all && o.judged.Load()
	}
	if !c.found && (all || !sick) {
		c.found = true
		close(c.checked)
	}
}
