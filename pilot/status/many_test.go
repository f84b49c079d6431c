package status

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// warehouse is a fake API server for very many objects: it counts, and remembers when it was written to.
type warehouse struct {
	client.Client
	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured
	reads   int
	wrote   []string
	at      []time.Time
}

func (w *warehouse) RESTMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{kind.GroupVersion()})
	m.Add(kind, meta.RESTScopeNamespace)
	return m
}

func (w *warehouse) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	have := w.objects[key.Name]
	if have == nil {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	have.DeepCopyInto(o.(*unstructured.Unstructured))
	return nil
}

func (w *warehouse) Status() client.SubResourceWriter { return shelf{warehouse: w} }

type shelf struct {
	client.SubResourceWriter
	*warehouse
}

func (s shelf) Update(_ context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[o.GetName()] = o.(*unstructured.Unstructured).DeepCopy()
	s.wrote, s.at = append(s.wrote, o.GetName()), append(s.at, time.Now())
	return nil
}

// written are the names of what was written after so many others.
func (w *warehouse) written(after int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.wrote[after:])
}

// TestTenThousandStaleObjects holds what ten thousand objects cost whose statuses tell of something else: one write each, fifty a second, so that all
// are right after four minutes; what changes meanwhile does not wait for them; and a new leader that finds them right reads each once and writes none.
func TestTenThousandStaleObjects(t *testing.T) {
	const stale = 10_000
	synctest.Test(t, func(t *testing.T) {
		objects, all := manyObjects(stale)
		store := &warehouse{objects: map[string]*unstructured.Unstructured{}}
		for _, o := range objects {
			u := o.(*unstructured.Unstructured)
			u.Object["status"] = map[string]any{"observedGeneration": int64(1), "conditions": []any{map[string]any{"type": Accepted, "status": "False", "observedGeneration": int64(1)}}}
			store.objects[u.GetName()] = u
		}
		w := newWriter(t, store, nobody)
		lead(t, w, func() {
			w.Set(all)
			time.Sleep(time.Minute)
			changed := report.Report{Entries: slices.Clone(all.Entries)}
			changed.Entries[0] = report.NewEntry(all.Entries[0].Ref, 3, false, []report.Issue{mistake})
			before := len(store.written(0))
			w.Set(changed)
			time.Sleep(grace + 2*look)
			if since := store.written(before); !slices.Contains(since, all.Entries[0].Ref.Name) {
				t.Errorf("what changed waits for the %d objects that did not: %d writes since", stale, len(since))
			}
			time.Sleep(3 * time.Minute)
		})
		if n := len(store.wrote); n < stale || n > stale+1 {
			t.Errorf("%d writes for %d objects", n, stale)
		}
		for i := 51; i < len(store.at); i++ {
			if d := store.at[i].Sub(store.at[i-51]); d < time.Second {
				t.Fatalf("51 writes within %s", d)
			}
		}
		reads, writes := store.reads, len(store.wrote)
		lead(t, w, func() { time.Sleep(210 * time.Second) })
		if r, n := store.reads-reads, len(store.wrote)-writes; r != stale || n != 0 {
			t.Errorf("a new leader read %d times and wrote %d times", r, n)
		}
	})
}
