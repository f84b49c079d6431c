package publish

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/older"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const typeEndpoints = wire.TypeEndpoints

// client is one connected proxy: a discovery.Subscription.
type client struct {
	publisher *Publisher
	caller    discovery.Caller
	node      discovery.Node
	pod       model.Name
	admitted  chan struct{}
	missed    chan struct{} // closed once Run has looked at the client and could not let it in
	refusal   error         // set before admitted is closed
	changed   chan struct{}
	state     atomic.Pointer[state]
	usage     atomic.Pointer[usage] // nil: not on demand

	workload *model.Workload // guarded by the publisher's mutex once admitted
	scope    generate.Scope  // likewise

	mu       sync.Mutex
	pending  discovery.Changes
	lent     bool   // pending is shared with other clients
	offered  uint64 // all changes up to this version of the mesh were enqueued
	complete uint64 // and all up to this one were taken
}

// Subscribe lets a proxy in once its pod is known and everything is synced. It waits its turn for as long as ctx allows, and PodWait for what is
// missing then: a thousand proxies that connect at once are let in one after the other, and none of them is late.
func (p *Publisher) Subscribe(ctx context.Context, caller discovery.Caller, node discovery.Node) (discovery.Subscription, error) {
	c := &client{
		publisher: p, caller: caller, node: node, pod: model.Name{Namespace: caller.Namespace, Name: caller.Pod},
		admitted: make(chan struct{}), missed: make(chan struct{}), changed: make(chan struct{}, 1),
	}
	p.mu.Lock()
	p.waiting[c] = struct{}{}
	p.mu.Unlock()
	p.nudge()
	select {
	case <-c.admitted:
		return c.outcome()
	case <-ctx.Done():
		return nil, p.giveUp(c)
	case <-c.missed:
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.PodWait)
	defer cancel()
	select {
	case <-c.admitted:
		return c.outcome()
	case <-ctx.Done():
		return nil, p.giveUp(c)
	}
}

// outcome is what became of a client that waits no more.
func (c *client) outcome() (discovery.Subscription, error) {
	if c.refusal != nil {
		return nil, c.refusal
	}
	return c, nil
}

// miss notes that the client was looked at in vain. Run alone calls it.
func (c *client) miss() {
	select {
	case <-c.missed:
	default:
		close(c.missed)
	}
}

// giveUp stops waiting.
func (p *Publisher) giveUp(c *client) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, c)
	delete(p.clients, c)
	c.usage.Load().leave(c, time.Now())
	if !p.synced() {
		return discovery.ErrNotReady
	}
	return fmt.Errorf("%w: %s with identity %s", discovery.ErrUnknownPod, c.pod, c.caller.Identity)
}

// Changed implements discovery.Subscription.
func (c *client) Changed() <-chan struct{} { return c.changed }

// Take implements discovery.Subscription.
func (c *client) Take() discovery.Changes {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.pending
	c.pending, c.complete = nil, c.offered
	return taken
}

// offer notes that all changes up to a version are enqueued.
func (c *client) offer(version uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offered = version; c.pending == nil {
		c.complete = version
	}
}

// Progress implements discovery.Subscription.
func (c *client) Progress() (latest, complete uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Load().version, c.complete
}

// View implements discovery.Subscription.
func (c *client) View() discovery.View { return c.state.Load() }

// Close implements discovery.Subscription.
func (c *client) Close() {
	p := c.publisher
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, c)
	c.usage.Load().leave(c, time.Now())
}

// enqueue adds to the one pending push. The changes are not to be changed any more: what all clients are told of is one for all.
func (c *client) enqueue(changes discovery.Changes) {
	if len(changes) == 0 {
		return
	}
	c.mu.Lock()
	if c.pending == nil {
		c.pending, c.lent = changes, true
	} else {
		if c.lent {
			own := discovery.Changes{}
			own.Merge(c.pending)
			c.pending, c.lent = own, false
		}
		c.pending.Merge(changes)
	}
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// find returns the client's workload, or nil.
func (c *client) find(workloads *model.WorkloadIndex) *model.Workload {
	if c.caller.Machine {
		return workloads.Machines[c.pod]
	}
	return workloads.ByName[c.pod]
}

// roleOf is what a pod's proxy does: an injected pod and a machine hold a sidecar, any other proxy is a gateway.
func roleOf(w *model.Workload) string {
	if w.Machine || w.Annotations[wire.StatusAnnotation] != "" {
		return wire.NodeSidecar
	}
	return wire.NodeRouter
}

// proxyless reports whether the client is a program with gRPC's xDS client.
func (c *client) proxyless() bool {
	return c.node.Dialect == 0 && c.node.Generator == wire.GeneratorGRPC
}

// role is what the pod's proxy does. A program without a proxy is told what a sidecar would be, whatever else is in its pod.
func (c *client) role(w *model.Workload) string {
	if c.proxyless() {
		return wire.NodeSidecar
	}
	return roleOf(w)
}

// class is what many resources depend on.
func (c *client) class(w *model.Workload) naming.Class {
	class := naming.Class{Router: c.role(w) == wire.NodeRouter, Foreign: c.node.Dialect == 0, Proxyless: c.proxyless()}
	class.Older = older.Of(c.node.Dialect)
	class.Names = c.node.Names && !class.Router && !class.Foreign
	class.Allocated = class.Names && c.node.Allocated
	class.OnDemand = c.node.OnDemand && !class.Router && !class.Foreign
	for _, ip := range w.IPs {
		if addr, err := netip.ParseAddr(ip); err == nil {
			class.IPv4 = class.IPv4 || addr.Unmap().Is4()
			class.IPv6 = class.IPv6 || !addr.Unmap().Is4()
		}
	}
	if !class.IPv4 && !class.IPv6 {
		class.IPv4 = true
	}
	return class
}

// state is what one proxy may know: a discovery.View.
type state struct {
	publisher *Publisher
	client    *client
	outer     *generate.Set
	own       *generate.Set
	from      upstream.Vantage
	older     int    // dialect; 0: this build's
	version   uint64 // of the mesh
}

// All implements discovery.View.
func (s *state) All(typ string) []*wire.Resource {
	if !s.outer.Partial(typ) {
		return merge(s.outer.All(typ), s.own.All(typ))
	}
	names := map[string]bool{}
	for name := range s.outer.Unasked(typ) {
		names[name] = true
	}
	s.client.usage.Load().add(typ, names)
	var others []*wire.Resource
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if r := s.find(typ, name); r != nil {
			others = append(others, r)
		}
	}
	return merge(others, s.own.All(typ))
}

// Partial implements discovery.View.
func (s *state) Partial(typ string) bool { return s.outer.Partial(typ) }

// Includes implements discovery.View.
func (s *state) Includes(typ, name string) bool {
	return s.outer.Includes(typ, name) || s.own.Get(typ, name) != nil || s.client.usage.Load().has(typ, name)
}

// Needs implements discovery.View.
func (s *state) Needs(typ, name string) discovery.Changes {
	clusters, table := s.outer.Needs(typ, name)
	out := discovery.Changes{}
	if table != "" {
		out[wire.TypeRoute] = map[string]bool{table: true}
	}
	if len(clusters) == 0 {
		return out
	}
	out[wire.TypeCluster], out[wire.TypeEndpoints] = map[string]bool{}, map[string]bool{}
	for _, cluster := range clusters {
		out[wire.TypeCluster][cluster] = true
		if _, known := s.outer.Reach.View(cluster); known {
			out[wire.TypeEndpoints][cluster] = true
		}
	}
	return out
}

// find returns what a proxy of the scope may know of others under a name.
func (s *state) find(typ, name string) *wire.Resource {
	if typ == wire.TypeVirtualHost {
		return s.outer.Host(name)
	}
	return s.outer.Get(typ, name)
}

// merge joins two sorted lists; of equal names the proxy's own stays.
func merge(others, own []*wire.Resource) []*wire.Resource {
	out := make([]*wire.Resource, 0, len(others)+len(own))
	for len(others) > 0 && len(own) > 0 {
		switch a, b := others[0], own[0]; {
		case a.Name < b.Name:
			out, others = append(out, a), others[1:]
		case a.Name > b.Name:
			out, own = append(out, b), own[1:]
		default:
			others = others[1:]
		}
	}
	return append(append(out, others...), own...)
}

// Get implements discovery.View.
func (s *state) Get(ctx context.Context, typ, name string) *wire.Resource {
	switch typ {
	case wire.TypeEndpoints:
		if view, known := s.outer.Reach.View(name); known {
			return older.Lower(s.publisher.endpoints.get(name, view.From(s.from)), s.older)
		}
		return nil
	case wire.TypeSecret:
		return older.Lower(s.secret(ctx, name), s.older)
	}
	if r := s.own.Get(typ, name); r != nil {
		return r
	}
	return s.find(typ, name)
}

// pair is a set and what replaced it.
type pair struct{ old, new *generate.Set }

// differences are the names that differ between the sets.
func (p pair) differences() discovery.Changes {
	out := discovery.Changes{}
	note := func(typ, name string) {
		if out[typ] == nil {
			out[typ] = map[string]bool{}
		}
		out[typ][name] = true
	}
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute, wire.TypeNames} {
		a, b := p.old.All(typ), p.new.All(typ)
		for len(a) > 0 || len(b) > 0 {
			switch {
			case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
				note(typ, a[0].Name)
				a = a[1:]
			case len(a) == 0 || a[0].Name > b[0].Name:
				note(typ, b[0].Name)
				b = b[1:]
			default:
				if a[0] != b[0] && a[0].Version != b[0].Version {
					note(typ, a[0].Name)
				}
				a, b = a[1:], b[1:]
			}
		}
	}
	if !p.old.SameHosts(p.new) {
		out[wire.TypeVirtualHost] = nil // by which names they were asked for is their stream's affair
	}
	if p.old.Reach != p.new.Reach {
		for name, view := range p.new.Reach.Views() {
			if was, known := p.old.Reach.View(name); !known || was != view {
				note(wire.TypeEndpoints, name)
			}
		}
		for name := range p.old.Reach.Views() {
			if _, known := p.new.Reach.View(name); !known {
				note(wire.TypeEndpoints, name)
			}
		}
	}
	for _, name := range append(p.old.Secrets[:len(p.old.Secrets):len(p.old.Secrets)], p.new.Secrets...) {
		note(wire.TypeSecret, wire.SecretPrefix+name)
		note(wire.TypeSecret, wire.SecretPrefix+name+wire.CACertSuffix)
	}
	return out
}

// reordered are the assignments that differ for a client that is elsewhere than before.
func reordered(last, next *state) discovery.Changes {
	if last.from == next.from {
		return nil
	}
	names := map[string]bool{}
	for name, view := range next.outer.Reach.Views() {
		if view.From(last.from) != view.From(next.from) {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	return discovery.Changes{typeEndpoints: names}
}

func remembered(yes bool) metric.MeasurementOption {
	return metric.WithAttributes(attribute.Bool("remembered", yes))
}

// conflicts are the objects that could not be served beside others.
func (s *state) conflicts() string {
	var b strings.Builder
	for _, c := range s.own.Conflicts {
		b.WriteString(c + "\n")
	}
	return b.String()
}
