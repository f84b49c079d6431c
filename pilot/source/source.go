package source

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"google.golang.org/protobuf/proto"
	mesh "istio.io/api/mesh/v1alpha1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// Cache is the part of the shared informer cache that a Source uses. It must have been made with ByObject.
type Cache interface {
	GetInformer(ctx context.Context, obj client.Object, opts ...cache.InformerGetOption) (cache.Informer, error)
}

// Options says where to read and whom to tell.
type Options struct {
	Cache Cache
	// Kube is asked for the ConfigMap with the mesh's settings, in Mesh.Namespace.
	Kube kubernetes.Interface
	// Mesh is the settings' frame: Namespace, ClusterID, ClusterDomain. Its Config is replaced by the ConfigMap's.
	Mesh inputs.Mesh
	// Snapshot is told of everything but endpoints; a burst of changes is one call. Endpoints is told of what endpoints and workloads are made
	// of, at once. Both get complete Inputs, each on a goroutine of its own, one call at a time.
	Snapshot, Endpoints func(*inputs.Inputs)
	Log                 *slog.Logger
}

// Source reads a cluster.
type Source struct {
	opts Options

	mu             sync.Mutex
	mesh           *inputs.Mesh // nil until the settings were read
	configured     bool         // there is a ConfigMap
	namespaces     *store[*corev1.Namespace]
	services       *store[*corev1.Service]
	endpointSlices *store[*discoveryv1.EndpointSlice]
	pods           *store[*corev1.Pod]
	nodes          *store[*corev1.Node]
	configs        map[string]*store[inputs.Object] // by kind and group
	kinds          []inputs.Kind

	snapshot, endpoints *lane
	registrations       []toolscache.ResourceEventHandlerRegistration
}

// New prepares a Source. Nothing is read before Run.
func New(opts Options) *Source {
	if opts.Mesh.Config == nil {
		opts.Mesh.Config = &mesh.MeshConfig{}
	}
	s := &Source{
		opts:       opts,
		namespaces: newStore[*corev1.Namespace](), services: newStore[*corev1.Service](),
		endpointSlices: newStore[*discoveryv1.EndpointSlice](), pods: newStore[*corev1.Pod](), nodes: newStore[*corev1.Node](),
		configs: map[string]*store[inputs.Object]{}, kinds: inputs.Kinds(),
		snapshot: newLane(quiet, patience), endpoints: newLane(0, 0),
	}
	for _, k := range s.kinds {
		s.configs[k.Kind+"."+k.Group] = newStore[inputs.Object]()
	}
	return s
}

const (
	// quiet and patience bound how long a burst of changes is collected, as in Istio; but the first change of a burst goes at once.
	quiet    = 100 * time.Millisecond
	patience = 10 * time.Second
	// retryKind is how often a kind that the cluster does not know yet is asked for.
	retryKind = 2 * time.Second
	// pollSync is how often the caches are asked whether they have everything.
	pollSync = 20 * time.Millisecond
)

// Run reads until ctx ends. Nobody is told of anything before everything was read once.
func (s *Source) Run(ctx context.Context) error {
	settings := s.watchSettings()
	s.watch(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { settings.Run(ctx.Done()) })
	if !s.waitSynced(ctx, settings.HasSynced) {
		return nil
	}
	s.opts.Log.Info("read the cluster", "services", len(s.services.list), "pods", len(s.pods.list))
	s.changed(laneSnapshot | laneEndpoints)
	wg.Go(func() { s.snapshot.run(ctx, func() { s.opts.Snapshot(s.Inputs()) }) })
	wg.Go(func() { s.endpoints.run(ctx, func() { s.opts.Endpoints(s.Inputs()) }) })
	<-ctx.Done()
	return nil
}

// Inputs is what is there now.
func (s *Source) Inputs() *inputs.Inputs {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := &inputs.Inputs{Mesh: s.mesh, Namespaces: s.namespaces.all(), Services: s.services.all(), EndpointSlices: s.endpointSlices.all(),
		Pods: s.pods.all(), Nodes: s.nodes.all()}
	for _, k := range s.kinds {
		for _, o := range s.configs[k.Kind+"."+k.Group].all() {
			in.Add(o)
		}
	}
	return in
}

// watch asks the cache for every kind, and goes on asking while the API server does not answer or does not know a kind yet: without
// one of them nothing may be translated. Kinds that are only reported are no reason to wait.
func (s *Source) watch(ctx context.Context) {
	both := laneSnapshot | laneEndpoints
	core := []func() error{
		func() error { return watchKind(ctx, s, &corev1.Namespace{}, s.namespaces, laneSnapshot) },
		func() error { return watchKind(ctx, s, &corev1.Service{}, s.services, both) },
		func() error { return watchKind(ctx, s, &discoveryv1.EndpointSlice{}, s.endpointSlices, laneEndpoints) },
		func() error { return watchKind(ctx, s, &corev1.Pod{}, s.pods, laneEndpoints) },
		func() error { return watchKind(ctx, s, &corev1.Node{}, s.nodes, laneEndpoints) },
	}
	for _, ask := range core {
		s.insist(ctx, ask)
	}
	for _, k := range s.kinds {
		concerned := laneSnapshot
		if k.Kind == "ServiceEntry" || k.Kind == "WorkloadEntry" {
			concerned = both
		}
		ask := func() error { return watchKind(ctx, s, prototype(k), s.configs[k.Kind+"."+k.Group], concerned) }
		if k.Implemented {
			s.insist(ctx, ask)
		} else if err := ask(); err != nil {
			s.opts.Log.Info("not watched; this version does not implement the kind anyway", "kind", k.Kind, "err", err)
		}
	}
}

// insist asks until there is no error or ctx ends.
func (s *Source) insist(ctx context.Context, ask func() error) {
	for ctx.Err() == nil {
		err := ask()
		if err == nil {
			return
		}
		s.opts.Log.Warn("nothing is translated before every kind can be watched", "err", err)
		wait(ctx, retryKind)
	}
}

// watchKind keeps a store as the cache is.
func watchKind[T metav1.Object](ctx context.Context, s *Source, obj client.Object, to *store[T], concerned lanes) error {
	informer, err := s.opts.Cache.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching %T %s: %w", obj, obj.GetObjectKind().GroupVersionKind().Kind, err)
	}
	update := func(obj any) {
		o, ok := obj.(T)
		if !ok {
			s.opts.Log.Error("the cache holds an object that was not read; was it made with source.ByObject?", "type", fmt.Sprintf("%T", obj))
			return
		}
		s.apply(func() bool { return to.set(o) }, concerned)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    update,
		UpdateFunc: func(_, obj any) { update(obj) },
		DeleteFunc: func(obj any) {
			name, err := toolscache.DeletionHandlingObjectToName(obj)
			if err == nil {
				s.apply(func() bool { return to.drop(name) }, concerned)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching %T: %w", obj, err)
	}
	if _, partial := obj.(*metav1.PartialObjectMetadata); !partial { // what is only reported holds nothing up
		s.registrations = append(s.registrations, registration)
	}
	return nil
}

// apply changes a store, and wakes the lanes if that says anything new.
func (s *Source) apply(change func() bool, concerned lanes) {
	s.mu.Lock()
	news := change()
	s.mu.Unlock()
	if news {
		s.changed(concerned)
	}
}

func (s *Source) changed(concerned lanes) {
	if concerned&laneSnapshot != 0 {
		s.snapshot.wake()
	}
	if concerned&laneEndpoints != 0 {
		s.endpoints.wake()
	}
}

// waitSynced returns false if ctx ends first.
func (s *Source) waitSynced(ctx context.Context, settings func() bool) bool {
	for ctx.Err() == nil {
		ready := settings() && s.settled()
		for _, r := range s.registrations {
			ready = ready && r.HasSynced()
		}
		if ready {
			return true
		}
		wait(ctx, pollSync)
	}
	return false
}

// settled reports whether there are settings in force: the ConfigMap's or, where there is none, the defaults.
func (s *Source) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mesh == nil && !s.configured {
		s.mesh = &s.opts.Mesh
	}
	return s.mesh != nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// watchSettings follows the one ConfigMap that holds the mesh's settings. It has an informer of its own, since the shared cache
// holds the ConfigMaps of another name.
func (s *Source) watchSettings() toolscache.Controller {
	configMaps, name := s.opts.Kube.CoreV1().ConfigMaps(s.opts.Mesh.Namespace), s.settings()
	only := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	}
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			only(&o)
			return configMaps.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			only(&o)
			return configMaps.Watch(ctx, o)
		},
	}
	update := func(obj any) {
		if cm, ok := obj.(*corev1.ConfigMap); ok && cm.Name == name {
			s.setSettings(cm.Data)
		}
	}
	_, controller := toolscache.NewInformerWithOptions(toolscache.InformerOptions{
		ListerWatcher: toolscache.ToListWatcherWithWatchListSemantics(lw, s.opts.Kube), ObjectType: &corev1.ConfigMap{},
		Handler: toolscache.ResourceEventHandlerFuncs{AddFunc: update, UpdateFunc: func(_, obj any) { update(obj) }},
	})
	return controller
}

// settings names the ConfigMap of the mesh's settings.
func (s *Source) settings() string { return cmp.Or(s.opts.Mesh.Name, wire.MeshConfigMap) }

// setSettings puts settings in force. Unreadable ones leave those of before, and if there are none, nothing is translated: no default is as
// safe. A ConfigMap that is deleted leaves its settings too.
func (s *Source) setSettings(data map[string]string) {
	next, err := s.opts.Mesh.WithSettings(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configured = true
	if err != nil {
		s.opts.Log.Error("the mesh's settings cannot be read; those of before stay in force", "configmap", s.settings(), "err", err)
		if s.mesh == nil {
			return
		}
		next = *s.mesh
		next.Problems = []inputs.Problem{{Path: "mesh", Reason: err.Error() + "; the settings of before are in force"}}
	}
	if s.mesh == nil || !proto.Equal(s.mesh.Config, next.Config) || !slices.Equal(s.mesh.Problems, next.Problems) || s.mesh.StrictHostOwnership != next.StrictHostOwnership ||
		s.mesh.Machines != next.Machines || s.mesh.MachinesPerAccount != next.MachinesPerAccount || s.mesh.PersistentSessions != next.PersistentSessions {
		s.mesh = &next
		s.changed(laneSnapshot | laneEndpoints)
	}
}
