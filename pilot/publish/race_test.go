package publish

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
)

// TestEverythingAtOnce has nothing to say but under -race: streams read what they may know while everything changes.
func TestEverythingAtOnce(t *testing.T) {
	p, c := newPublisher(t, Options{}), newCluster()
	for i := range 20 {
		c.service(fmt.Sprintf("svc%d", i), fmt.Sprintf("10.96.0.%d", i+1))
		c.pod(fmt.Sprintf("pod-%d", i), fmt.Sprintf("app%d", i), true)
	}
	c.all(p)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = p.Run(ctx) })
	for i := range 20 {
		all.Go(func() { readAll(ctx, t, c, p, i) })
	}
	for i := range 60 {
		c.service(fmt.Sprintf("svc%d", i%20), fmt.Sprintf("10.97.0.%d", i+1))
		p.SetSnapshot(c.snapshot())
		c.endpoint(fmt.Sprintf("svc%d", i%20), fmt.Sprintf("10.1.1.%d", i+1))
		p.SetEndpoints(c.index())
		p.SetWorkloads(c.pods())
		time.Sleep(2 * time.Millisecond)
	}
	stop()
	all.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.clients) != 0 || len(p.waiting) != 0 {
		t.Errorf("%d clients and %d waiting are left", len(p.clients), len(p.waiting))
	}
}

// readAll is a stream that comes and goes, and reads all that it is told of.
func readAll(ctx context.Context, t *testing.T, c *cluster, p *Publisher, i int) {
	for ctx.Err() == nil {
		app := fmt.Sprintf("app%d", i)
		sub, err := p.Subscribe(ctx, discovery.Caller{Identity: identity(app), Namespace: "shop", Pod: fmt.Sprintf("pod-%d", i)},
			discovery.Node{Role: wire.NodeSidecar, Dialect: wire.Dialect})
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("subscribing: %v", err)
			}
			return
		}
		for range 5 {
			view := sub.View()
			for _, r := range view.All(wire.TypeCluster) {
				if view.Get(ctx, wire.TypeCluster, r.Name) != r {
					t.Errorf("%s is listed and not to be had", r.Name)
				}
				view.Get(ctx, wire.TypeEndpoints, r.Name)
			}
			sub.Take()
			select {
			case <-sub.Changed():
			case <-ctx.Done():
			}
		}
		sub.Close()
	}
}
