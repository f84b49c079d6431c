package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/memo"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/older"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Options is what a Publisher needs.
type Options struct {
	Log   *slog.Logger
	Meter metric.Meter
	// Secrets hands out the certificates of gateways. Nil: there are none.
	Secrets SecretSource
	// MayRead says whether a service account may read the Secrets of a namespace, its own or another. Nil: none may.
	MayRead func(ctx context.Context, account model.Name, namespace string) (bool, error)
	// PodWait is how long a new proxy waits until its pod is known, from when it was first looked for; 0: 5 s.
	PodWait time.Duration
}

// Publisher tells proxies what they need to know.
type Publisher struct {
	options   Options
	log       *slog.Logger
	endpoints *endpointTable
	secrets   *secretGate
	wake      chan struct{}
	duration  metric.Float64Histogram
	memoized  metric.Int64Counter

	mu        sync.Mutex // guards what follows
	snapshot  *model.Snapshot
	version   uint64 // of the snapshot, counted from 1
	workloads *model.WorkloadIndex
	stale     bool // the snapshot, or endpoints that configuration depends on, changed
	moved     bool // workloads changed
	waiting   map[*client]struct{}
	clients   map[*client]struct{}
	index     *generate.Index
	usages    map[model.Name]*usage // by namespace and workload

	// Used by Run alone.
	memo  *generate.Memo
	older *memo.Memo[inOlder, *wire.Resource]
	outer map[generate.Outbound]*generate.Set
	own   map[ownKey]*generate.Set
}

// ownKey is what the part of a proxy's configuration that is not its view of others depends on.
type ownKey struct {
	inbound listeners.Inbound
	edge    generate.Edge
	out     generate.Outbound // edges only
	older   int
}

// New returns a Publisher. The error is a meter's.
func New(o Options) (*Publisher, error) {
	if o.PodWait == 0 {
		o.PodWait = 5 * time.Second
	}
	p := &Publisher{
		options: o, log: o.Log, endpoints: newEndpointTable(), secrets: newSecretGate(o), wake: make(chan struct{}, 1),
		waiting: map[*client]struct{}{}, clients: map[*client]struct{}{}, usages: map[model.Name]*usage{}, memo: generate.NewMemo(),
		older: memo.New[inOlder, *wire.Resource](),
	}
	var errs [2]error
	p.duration, errs[0] = o.Meter.Float64Histogram("heddle.generate.duration", metric.WithUnit("s"), metric.WithDescription("time to make configuration for all scopes"),
		metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	p.memoized, errs[1] = o.Meter.Int64Counter("heddle.generate.resources", metric.WithDescription("resources asked of generate, by whether they had to be made"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("registering metrics of publish: %w", err)
	}
	return p, nil
}

// SetSnapshot replaces the mesh. It returns the version that the proxies' progress is counted by.
func (p *Publisher) SetSnapshot(s *model.Snapshot) uint64 {
	p.mu.Lock()
	p.snapshot, p.stale = s, true
	p.version++
	version := p.version
	p.mu.Unlock()
	p.nudge()
	return version
}

// SetWorkloads replaces the pods that may hold proxies.
func (p *Publisher) SetWorkloads(w *model.WorkloadIndex) {
	p.mu.Lock()
	moved := p.workloads != w
	if moved {
		p.workloads, p.moved = w, true
	}
	p.mu.Unlock()
	if moved {
		p.nudge()
	}
}

// SetEndpoints replaces the endpoints and tells the proxies that use what changed, without waiting for Run.
func (p *Publisher) SetEndpoints(e *model.EndpointIndex) {
	changed := p.endpoints.replace(e)
	if len(changed) == 0 {
		return
	}
	p.mu.Lock()
	foreign, names := false, false
	told := map[*generate.Reach]discovery.Changes{}
	for c := range p.clients {
		foreign, names = foreign || c.scope.Outbound.Class.Foreign, names || c.scope.Outbound.Class.Names
		reach := c.state.Load().outer.Reach
		news, known := told[reach]
		if !known {
			news = touched(reach, changed)
			told[reach] = news
		}
		c.enqueue(news)
	}
	if p.index == nil || slices.ContainsFunc(changed, func(m moved) bool {
		return p.index.NeedsEndpoints(m.key, foreign && p.index.Spells(m.before, m.now), names)
	}) {
		p.stale = true
	}
	stale := p.stale
	p.mu.Unlock()
	if stale {
		p.nudge()
	}
}

// touched are the assignments that look at any of the sets.
func touched(reach *generate.Reach, changed []moved) discovery.Changes {
	names := map[string]bool{}
	for _, m := range changed {
		for _, name := range reach.Clusters(m.key) {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	return discovery.Changes{typeEndpoints: names}
}

// Synced reports whether there is a snapshot, endpoints and workloads to serve from.
func (p *Publisher) Synced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced()
}

func (p *Publisher) synced() bool {
	return p.snapshot != nil && p.workloads != nil && p.endpoints.known()
}

// Snapshot returns the latest mesh, or nil.
func (p *Publisher) Snapshot() *model.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snapshot
}

func (p *Publisher) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run makes configuration until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	ticker := time.NewTicker(deniedFor)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			p.reviewSecrets()
			p.forgetUsages(now)
		case <-p.wake:
			p.round(ctx)
		}
	}
}

// round brings every proxy up to date.
func (p *Publisher) round(ctx context.Context) {
	p.mu.Lock()
	if !p.synced() {
		for c := range p.waiting {
			c.miss()
		}
		p.mu.Unlock()
		return
	}
	snapshot, version, workloads, stale, moved := p.snapshot, p.version, p.workloads, p.stale, p.moved
	p.stale, p.moved = false, false
	clients, waiting, index := maps.Clone(p.clients), maps.Clone(p.waiting), p.index
	p.mu.Unlock()
	if stale || index == nil {
		began := time.Now()
		index = generate.NewIndex(snapshot, p.endpoints.current(), index)
		p.outer, p.own = map[generate.Outbound]*generate.Set{}, map[ownKey]*generate.Set{}
		defer func() { p.measure(ctx, time.Since(began)) }()
	}
	diffs := map[pair]discovery.Changes{}
	for c := range clients {
		if stale || moved && c.find(workloads) != c.workload {
			p.refresh(c, index, workloads, version, diffs)
		}
	}
	p.mu.Lock()
	p.index = index
	p.mu.Unlock()
	for c := range waiting {
		p.admit(c, index, workloads, version)
	}
}

// measure ends a generation of everything.
func (p *Publisher) measure(ctx context.Context, took time.Duration) {
	hits, misses := p.memo.Round()
	p.older.Round()
	p.duration.Record(ctx, took.Seconds())
	p.memoized.Add(ctx, int64(hits), remembered(true))
	p.memoized.Add(ctx, int64(misses), remembered(false))
	p.log.Debug("configuration is made", "took", took, "remembered", hits, "made", misses)
}

// make returns what a scope is told.
func (p *Publisher) make(index *generate.Index, scope generate.Scope) *state {
	outer := p.outer[scope.Outbound]
	if outer == nil {
		outer = p.lowered(generate.GenerateOutbound(index, scope.Outbound, p.memo), scope.Outbound.Class.Older)
		p.outer[scope.Outbound] = outer
	}
	key := ownKey{inbound: scope.Inbound, edge: scope.Edge, older: scope.Outbound.Class.Older}
	if scope.Outbound.Class.Router {
		key.out = scope.Outbound
	}
	own := p.own[key]
	if own == nil {
		if scope.Outbound.Class.Router {
			own = generate.GenerateEdge(index, scope.Outbound, scope.Edge, p.memo)
		} else {
			own = generate.GenerateInbound(scope.Inbound, p.memo)
		}
		own = p.lowered(own, key.older)
		p.own[key] = own
	}
	return &state{publisher: p, outer: outer, own: own, from: scope.From, older: key.older}
}

// inOlder is a resource to be said in an older dialect.
type inOlder struct {
	resource *wire.Resource
	dialect  int
}

// lowered says a set in an older dialect; 0: in this build's.
func (p *Publisher) lowered(set *generate.Set, dialect int) *generate.Set {
	if dialect == 0 {
		return set
	}
	return set.Each(func(r *wire.Resource) *wire.Resource {
		return p.older.Get(inOlder{r, dialect}, func(k inOlder) *wire.Resource { return older.Lower(k.resource, k.dialect) })
	})
}

// refresh recomputes a connected proxy's state and tells its stream what differs.
func (p *Publisher) refresh(c *client, index *generate.Index, workloads *model.WorkloadIndex, version uint64, diffs map[pair]discovery.Changes) {
	w := c.find(workloads)
	if w == nil || w.UID != c.workload.UID { // the pod is being deleted, or another has its name by now: it keeps what it has
		w = c.workload
	}
	scope := generate.ScopeOf(index, w, c.class(w), p.memo)
	next, last := p.make(index, scope), c.state.Load()
	next.client, next.version = c, version
	p.mu.Lock()
	c.workload, c.scope = w, scope
	c.state.Store(next)
	p.mu.Unlock()
	c.enqueue(reordered(last, next))
	for _, sets := range []pair{{last.outer, next.outer}, {last.own, next.own}} {
		if sets.old == sets.new {
			continue
		}
		changes, known := diffs[sets]
		if !known {
			changes = sets.differences()
			diffs[sets] = changes
		}
		c.enqueue(changes)
	}
	c.offer(version)
}

// admit lets a waiting proxy in once its pod is known.
func (p *Publisher) admit(c *client, index *generate.Index, workloads *model.WorkloadIndex, version uint64) {
	w := c.find(workloads)
	if w == nil || !w.Identity.IsZero() && w.Identity != c.caller.Identity {
		c.miss()
		return
	}
	if role := c.role(w); role != c.node.Role {
		c.refusal = fmt.Errorf("%w: the workload is a %s, not a %s", discovery.ErrContradiction, role, c.node.Role)
	} else {
		c.workload = w
		c.scope = generate.ScopeOf(index, w, c.class(w), p.memo)
		if w.Unread != "" && role == wire.NodeRouter {
			p.log.Warn("a gateway's annotation cannot be read, the mesh's gatewayTopology is in force", "pod", w.Name, "problem", w.Unread)
		}
		s := p.make(index, c.scope)
		s.client, s.version = c, version
		c.state.Store(s)
		c.offer(version)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, still := p.waiting[c]; !still {
		return // it gave up
	}
	delete(p.waiting, c)
	if c.refusal == nil {
		p.clients[c] = struct{}{}
		c.usage.Store(p.usageOf(c, w))
	}
	close(c.admitted)
}

// ScopeOf tells what about a connected proxy (pod.namespace) decides its configuration; "" where there is none.
func (p *Publisher) ScopeOf(proxy string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.clients {
		if c.pod.Name+"."+c.pod.Namespace == proxy || c.node.ID == proxy {
			return c.scope.String() + c.state.Load().conflicts()
		}
	}
	return ""
}
