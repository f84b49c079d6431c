package upstream

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/check"
)

// target is a host as checks see it.
type target struct{ h *Host }

// Face implements check.Target.
func (t target) Face() any { return t.h.face.Load() }

// Secured implements check.Target.
func (t target) Secured() bool { return t.h.face.Load().tls != nil }

// Name implements check.Target.
func (t target) Name() string { return t.h.cluster.name }

// Transport implements check.Target.
func (t target) Transport(ctx context.Context, at any, p exchange.Protocol) (exchange.Transport, error) {
	return t.h.transport(ctx, at.(*face), poolKey{proto: p}, nil, nil)
}

// Dial implements check.Target.
func (t target) Dial(ctx context.Context, at any) (net.Conn, error) {
	conn, _, err := t.h.dial(ctx, at.(*face), poolKey{proto: exchange.TCP}, nil)
	return conn, err
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
	var found check.Record
	p := check.Prober{Target: target{h}}
	defer p.Close()
	for wait, begun := time.Duration(0), false; ; begun = true {
		c := h.cluster.config().Health
		if c == nil {
			return
		}
		if !begun {
			wait = check.UpTo(c.FirstJitter)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		got := p.Probe(ctx, c)
		if ctx.Err() != nil {
			return
		}
		was := h.sick.Load()
		now := found.Judge(c, was, got)
		h.verdict(now)
		if got == check.Pass && !now {
			h.pardon()
		}
		wait = c.Pause(now, now != was, h.cluster.busy.Load())
	}
}

// Sick says whether active health checks hold the host back.
func (h *Host) Sick() bool { return h.sick.Load() }

// verdict takes over what checks say of the host.
func (h *Host) verdict(sick bool) {
	c := h.cluster
	if !sick && h.sick.Load() {
		h.since.Store(time.Now().UnixNano())
	}
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
