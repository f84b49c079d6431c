package source

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	toolscache "k8s.io/client-go/tools/cache"
	fcache "k8s.io/client-go/tools/cache/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// world is a cluster without a server: real informers over lists that the test changes.
type world struct {
	ctx     context.Context
	sources map[string]*fcache.FakeControllerSource
	fails   atomic.Int32 // so many requests for an informer
}

func name(obj client.Object) string {
	if kind := obj.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind
	}
	switch obj.(type) {
	case *corev1.Namespace:
		return "Namespace"
	case *corev1.Service:
		return "Service"
	case *corev1.Pod:
		return "Pod"
	case *corev1.Node:
		return "Node"
	case *discoveryv1.EndpointSlice:
		return "EndpointSlice"
	}
	return "?"
}

func newWorld(ctx context.Context) *world {
	w := &world{ctx: ctx, sources: map[string]*fcache.FakeControllerSource{}}
	for obj := range ByObject() {
		w.sources[name(obj)] = fcache.NewFakeControllerSource()
	}
	return w
}

func (w *world) GetInformer(_ context.Context, obj client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	if w.fails.Add(-1) >= 0 {
		return nil, &meta.NoKindMatchError{GroupKind: obj.GetObjectKind().GroupVersionKind().GroupKind()}
	}
	from := w.sources[name(obj)]
	lw := &toolscache.ListWatch{
		ListWithContextFunc:  func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) { return from.List(o) },
		WatchFuncWithContext: func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) { return from.Watch(o) },
	}
	informer := toolscache.NewSharedIndexInformer(toolscache.ToListWatcherWithWatchListSemantics(lw, noWatchList{}), obj, 0, toolscache.Indexers{})
	for o, by := range ByObject() {
		if name(o) == name(obj) {
			if err := informer.SetTransform(by.Transform); err != nil {
				return nil, err
			}
		}
	}
	go informer.Run(w.ctx.Done())
	return informer, nil
}

// noWatchList says that lists cannot be streamed.
type noWatchList struct{}

func (noWatchList) IsWatchListSemanticsUnSupported() bool { return true }

// object makes an object as the API server would send it.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), u); err != nil {
		t.Fatal(err)
	}
	return u
}

// listener records what a lane was told.
type listener struct {
	mu  sync.Mutex
	got []*inputs.Inputs
}

func (l *listener) tell(in *inputs.Inputs) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, in)
}

func (l *listener) take() []*inputs.Inputs {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.got
	l.got = nil
	return out
}

// play runs a Source over a world in a bubble of time.
func play(t *testing.T, settings string, f func(w *world, snapshots, endpoints *listener)) {
	t.Helper()
	playWith(t, settings, 0, f)
}

func playWith(t *testing.T, settings string, fails int32, f func(w *world, snapshots, endpoints *listener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w, snapshots, endpoints := newWorld(ctx), &listener{}, &listener{}
		w.fails.Store(fails)
		kube := fake.NewSimpleClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: wire.MeshConfigMap, Namespace: "heddle-system"},
			Data: map[string]string{wire.MeshConfigMapKey: settings}})
		s := New(Options{Cache: w, Kube: kube, Mesh: *DefaultMesh(), Snapshot: snapshots.tell,
			Endpoints: endpoints.tell, Log: slog.New(slog.DiscardHandler)})
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(time.Second)
		f(w, snapshots, endpoints)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, s := range w.sources {
			s.Shutdown()
		}
		time.Sleep(time.Minute)
	})
}

const rule = `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"a","namespace":"b","uid":"1","generation":1,"resourceVersion":"1",
	"managedFields":[{"manager":"x"}]},"spec":{"hosts":["c"],"http":[{"route":[{"destination":{"host":"c"}}],"wat":1}]}}`

func TestObjectsAreReadAsTheyArrive(t *testing.T) {
	play(t, "trustDomain: example.org", func(w *world, snapshots, endpoints *listener) {
		if n := len(snapshots.take()); n != 1 {
			t.Errorf("told %d times of the first state, want once", n)
		}
		w.sources["VirtualService"].Add(object(t, rule))
		time.Sleep(time.Second)
		got := snapshots.take()
		if len(got) != 1 || len(got[0].VirtualServices) != 1 {
			t.Fatalf("got %d snapshots", len(got))
		}
		in := got[0]
		if in.Mesh.Config.TrustDomain != "example.org" {
			t.Errorf("trust domain %q", in.Mesh.Config.TrustDomain)
		}
		vs := in.VirtualServices[0]
		if vs.Spec.Hosts[0] != "c" || vs.ManagedFields != nil {
			t.Errorf("read as %v", vs)
		}
		if !slices.Equal(vs.Problems, []inputs.Problem{{Path: "spec.http[0].wat", Reason: "unknown field"}}) {
			t.Errorf("problems: %v", vs.Problems)
		}
	})
}

func TestOnlyEndpointsHearOfPodsAndSlices(t *testing.T) {
	play(t, "", func(w *world, snapshots, endpoints *listener) {
		snapshots.take()
		endpoints.take()
		w.sources["Pod"].Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "b"}, Spec: corev1.PodSpec{NodeName: "n",
			Volumes: []corev1.Volume{{Name: "v"}}, Containers: []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "E"}}}}}})
		time.Sleep(time.Second)
		w.sources["EndpointSlice"].Add(&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "b"}})
		time.Sleep(time.Second)
		got := endpoints.take()
		if len(got) != 2 || len(got[1].EndpointSlices) != 1 || len(got[1].Pods) != 1 {
			t.Fatalf("endpoints told %d times", len(got))
		}
		if p := got[1].Pods[0]; p.Spec.Volumes != nil || p.Spec.Containers[0].Env != nil || p.Spec.NodeName != "n" {
			t.Errorf("pod kept as %v", p.Spec)
		}
		if n := len(snapshots.take()); n != 0 {
			t.Errorf("the snapshot lane was told %d times", n)
		}
	})
}

func TestAStatusWriteIsNoNews(t *testing.T) {
	play(t, "", func(w *world, snapshots, endpoints *listener) {
		w.sources["VirtualService"].Add(object(t, rule))
		time.Sleep(time.Second)
		before := snapshots.take()
		changed := object(t, rule)
		changed.SetResourceVersion("2")
		w.sources["VirtualService"].Modify(changed)
		time.Sleep(time.Second)
		if n := len(snapshots.take()); n != 0 {
			t.Errorf("told %d times of a status", n)
		}
		w.sources["Service"].Add(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "b"}})
		time.Sleep(time.Second)
		after := snapshots.take()
		if len(after) != 1 || after[0].VirtualServices[0] != before[len(before)-1].VirtualServices[0] {
			t.Error("the object did not keep its pointer")
		}
		w.sources["VirtualService"].Delete(changed)
		time.Sleep(time.Second)
		if last := snapshots.take(); len(last) != 1 || len(last[0].VirtualServices) != 0 {
			t.Error("the deleted object is still there")
		}
	})
}

func TestKindsThatAreOnlyReportedAreSeen(t *testing.T) {
	play(t, "", func(w *world, snapshots, endpoints *listener) {
		snapshots.take()
		p := &metav1.PartialObjectMetadata{}
		if err := json.Unmarshal([]byte(`{"apiVersion":"extensions.istio.io/v1alpha1","kind":"WasmPlugin","metadata":{"name":"a","namespace":"b"}}`), p); err != nil {
			t.Fatal(err)
		}
		w.sources["WasmPlugin"].Add(p)
		time.Sleep(time.Second)
		if got := snapshots.take(); len(got) != 1 || len(got[0].Unimplemented) != 1 || got[0].Unimplemented[0].Name != "a" {
			t.Errorf("told %d times", len(got))
		}
	})
}

func TestUnreadableSettingsHoldTranslationBack(t *testing.T) {
	play(t, "trustDomain: [", func(w *world, snapshots, endpoints *listener) {
		if n := len(snapshots.take()) + len(endpoints.take()); n != 0 {
			t.Errorf("told %d times without settings", n)
		}
	})
}

func TestAKindThatIsNotThereYetHoldsTranslationBack(t *testing.T) {
	playWith(t, "", 3, func(w *world, snapshots, endpoints *listener) {
		if n := len(snapshots.take()) + len(endpoints.take()); n != 0 {
			t.Errorf("told %d times before every kind was watched", n)
		}
		time.Sleep(3 * retryKind)
		if n := len(snapshots.take()); n != 1 {
			t.Errorf("told %d times once they were, want once", n)
		}
	})
}
