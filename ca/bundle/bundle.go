// Package bundle publishes the mesh's trust bundle: to every namespace as a ConfigMap, and to Heddle's own webhook configurations as
// their caBundle. A validating webhook that refuses what it must is closed. It is level-based: it makes what is there into what should be there, whoever changed it. It runs on the leader
// only, touches no other object, and holds no keys.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cache is the part of the shared informer cache that a Publisher reads. Of ConfigMaps it need hold only those named
// wire.RootConfigMap.
type Cache interface {
	client.Reader
	GetInformer(ctx context.Context, obj client.Object, opts ...cache.InformerGetOption) (cache.Informer, error)
}

// Config is what a Publisher needs.
type Config struct {
	Cache  Cache
	Writer client.Writer
	// App is the label "app" of the webhook configurations to write into; empty: the default revision's.
	App string
	// WebhooksOnly leaves namespaces to another revision's Publisher.
	WebhooksOnly bool
	Bundle       func() []byte // PEM; asked for each time
	Closing      *Closing      // nil: webhooks stay as open as they are
	Log          *slog.Logger
}

// Closing is a validating webhook that is installed open (Ignore), since nobody serves it yet, and is closed (Fail) once it was seen to refuse: an
// object that nobody judged would be as good as one that was. It is closed again where an installation opens it.
type Closing struct {
	Webhook string
	Refuses func(context.Context) (bool, error) // whether the API server gets its refusals; asked until it does
}

// errOpen is of a webhook that does not refuse yet.
var errOpen = errors.New("the webhook does not refuse yet")

// Publisher keeps the bundle published while it runs.
type Publisher struct{ Config }

// New returns a Publisher.
func New(c Config) *Publisher { return &Publisher{c} }

// Backoff of an object that could not be written.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// item is one object to look at.
type item struct {
	kind string // kindNamespace, kindMutating or kindValidating
	name string
}

type queue = workqueue.TypedRateLimitingInterface[item]

// workers write at the same time: at the start there is a ConfigMap to look at per namespace.
const workers = 4

// Run publishes until ctx ends. It is meant to run while this replica leads; it returns an error only where it cannot watch.
func (p *Publisher) Run(ctx context.Context) error {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[item](firstRetry, lastRetry)
	q := workqueue.NewTypedRateLimitingQueue(limiter)
	defer q.ShutDown()
	for _, s := range p.sources() {
		stop, err := p.watch(ctx, s, q)
		if err != nil {
			return err
		}
		defer stop()
	}
	group := errgroup.Group{}
	for range workers {
		group.Go(func() error {
			for p.next(ctx, q) {
			}
			return nil
		})
	}
	<-ctx.Done()
	q.ShutDown()
	return group.Wait()
}

// watch puts what s says about each event into q. Each object that exists already is an event too.
func (p *Publisher) watch(ctx context.Context, s source, q queue) (stop func(), err error) {
	informer, err := p.Cache.GetInformer(ctx, s.object)
	if err != nil {
		return nil, fmt.Errorf("watching %T: %w", s.object, err)
	}
	add := func(obj any) {
		if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if o, ok := obj.(client.Object); ok {
			if it, ok := s.item(o); ok {
				q.Add(it)
			}
		}
	}
	handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }, DeleteFunc: add,
	})
	if err != nil {
		return nil, fmt.Errorf("watching %T: %w", s.object, err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), handle.HasSynced) {
		return nil, fmt.Errorf("watching %T: %w", s.object, context.Cause(ctx))
	}
	return func() { _ = informer.RemoveEventHandler(handle) }, nil
}

func (p *Publisher) next(ctx context.Context, q queue) bool {
	it, shutdown := q.Get()
	if shutdown {
		return false
	}
	defer q.Done(it)
	changed, err := p.reconcile(ctx, it)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, errOpen):
		q.AddRateLimited(it)
	case err != nil:
		p.Log.Warn("the trust bundle could not be published, will try again", "kind", it.kind, "name", it.name, "err", err)
		q.AddRateLimited(it)
	default:
		q.Forget(it)
		if changed {
			p.Log.Info("trust bundle published", "kind", it.kind, "name", it.name)
		}
	}
	return true
}

func (p *Publisher) reconcile(ctx context.Context, it item) (changed bool, err error) {
	switch it.kind {
	case kindNamespace:
		return p.namespace(ctx, it.name)
	case kindMutating:
		return p.mutating(ctx, it.name)
	default:
		return p.validating(ctx, it.name)
	}
}
