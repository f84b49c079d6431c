package status

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/heddle-mesh/heddle/pilot/distribution"
	"github.com/heddle-mesh/heddle/pilot/report"
)

var (
	kind = schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "VirtualService"}
	ref  = report.Ref{Group: kind.Group, Kind: kind.Kind, Namespace: "shop", Name: "r"}
)

func virtualService(status map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"hosts": []any{"a"}}}}
	u.SetGroupVersionKind(kind)
	u.SetNamespace("shop")
	u.SetName("r")
	u.SetGeneration(3)
	if status != nil {
		u.Object["status"] = status
	}
	return u
}

// cluster is a fake API server that counts requests and may refuse writes.
type cluster struct {
	client.Client
	gets, writes atomic.Int32
	refuse       atomic.Int32 // so many writes
	conflict     atomic.Int32 // likewise, since others write at the same time
}

func newCluster(objects ...client.Object) *cluster {
	c := &cluster{}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{kind.GroupVersion()})
	mapper.Add(kind, meta.RESTScopeNamespace)
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(kind, &unstructured.Unstructured{})
	c.Client = fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper).WithObjects(objects...).WithStatusSubresource(virtualService(nil)).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				c.gets.Add(1)
				return w.Get(ctx, key, o, opts...)
			},
			SubResourceUpdate: func(ctx context.Context, w client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
				c.writes.Add(1)
				if c.refuse.Add(-1) >= 0 {
					return errors.New("no")
				}
				if c.conflict.Add(-1) >= 0 {
					return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), errors.New("it was written meanwhile"))
				}
				return w.SubResource(sub).Update(ctx, o, opts...)
			},
		}).Build()
	return c
}

func (c *cluster) conditions(t *testing.T) []any {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "r"}, u); err != nil {
		t.Fatal(err)
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return list
}

// nobody counts nothing.
func nobody(context.Context) (*distribution.Sum, error) { return nil, nil }

func newWriter(t *testing.T, c client.Client, count Counter) *Writer {
	return New(c, count, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// lead runs a Writer for a term of leadership.
func lead(t *testing.T, w *Writer, term func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	term()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func entry(issues ...report.Issue) report.Report {
	return report.Report{Entries: []*report.Entry{
		report.NewEntry(report.Ref{Kind: "Service", Namespace: "shop", Name: "a"}, 0, false, nil), report.NewEntry(ref, 3, false, issues)}}
}

var mistake = report.Issue{Severity: report.Error, Path: "spec.http", Reason: "wrong"}

func TestWritesOnceAndOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := map[string]any{"type": "Theirs", "status": "True"}
		c := newCluster(virtualService(map[string]any{"conditions": []any{other}, "addresses": []any{"keep"}}))
		w := newWriter(t, c, nobody)
		lead(t, w, func() {
			w.Set(entry(mistake))
			time.Sleep(time.Minute)
			list := c.conditions(t)
			if len(list) != 3 || list[0].(map[string]any)["type"] != "Theirs" {
				t.Fatalf("conditions: %v", list)
			}
			got := list[1].(map[string]any)
			if got["status"] != "False" || got["reason"] != "NotInForce" || got["observedGeneration"] != int64(3) ||
				got["message"] != "not in force\nerror: spec.http: wrong" {
				t.Errorf("condition: %v", got)
			}
			gets := c.gets.Load()
			w.Set(entry(mistake))
			time.Sleep(time.Minute)
			if c.writes.Load() != 1 || c.gets.Load() != gets {
				t.Errorf("%d writes, %d more reads for the same report", c.writes.Load(), c.gets.Load()-gets)
			}
			w.Set(entry())
			time.Sleep(time.Minute)
			if got := c.conditions(t)[1].(map[string]any); got["status"] != "True" || got["message"] != nil {
				t.Errorf("condition: %v", got)
			}
		})
		writes := c.writes.Load()
		lead(t, w, func() { time.Sleep(time.Minute) })
		if c.writes.Load() != writes {
			t.Errorf("a new term wrote %d times what was there", c.writes.Load()-writes)
		}
	})
}

func TestWithoutLeadershipNothingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(virtualService(nil))
		w := newWriter(t, c, nobody)
		lead(t, w, func() { time.Sleep(time.Minute) })
		w.Set(entry(mistake))
		time.Sleep(time.Minute)
		if c.writes.Load() != 0 {
			t.Fatalf("%d writes", c.writes.Load())
		}
		lead(t, w, func() { time.Sleep(time.Minute) })
		if c.writes.Load() != 1 {
			t.Errorf("%d writes in the next term", c.writes.Load())
		}
	})
}

func TestAFailedWriteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(virtualService(nil))
		c.refuse.Store(2)
		w := newWriter(t, c, nobody)
		lead(t, w, func() {
			w.Set(entry(mistake))
			time.Sleep(time.Minute)
		})
		if c.writes.Load() != 3 || len(c.conditions(t)) != 2 {
			t.Errorf("%d writes", c.writes.Load())
		}
	})
}

func TestAWriteThatMeetsAnotherIsTriedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(virtualService(nil))
		c.conflict.Store(attempts - 1)
		w := newWriter(t, c, nobody)
		lead(t, w, func() {
			w.Set(entry(mistake))
			time.Sleep(retry / 2)
			if c.writes.Load() != attempts || len(c.conditions(t)) != 2 {
				t.Errorf("%d writes", c.writes.Load())
			}
		})
	})
}

func TestAnObjectOfAnotherControlPlaneGetsNoStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(virtualService(nil))
		w := newWriter(t, c, nobody)
		r := entry(mistake)
		r.Entries[1].Foreign = true
		lead(t, w, func() {
			w.Set(r)
			time.Sleep(time.Minute)
		})
		if c.writes.Load() != 0 {
			t.Errorf("%d writes", c.writes.Load())
		}
	})
}

func TestAnObjectNewerThanTheReportIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := virtualService(nil)
		u.SetGeneration(4)
		c := newCluster(u)
		w := newWriter(t, c, nobody)
		lead(t, w, func() {
			w.Set(entry(mistake))
			time.Sleep(time.Minute)
		})
		if c.writes.Load() != 0 {
			t.Errorf("%d writes", c.writes.Load())
		}
	})
}

// TestAnotherObjectOfTheSameNameGetsConditions has an object deleted and made anew, of the same generation, and the report lag behind or not.
func TestAnotherObjectOfTheSameNameGetsConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := func(uid types.UID) (*unstructured.Unstructured, report.Report) {
			u, r := virtualService(nil), entry(mistake)
			u.SetUID(uid)
			r.Entries[1].UID = string(uid)
			return u, r
		}
		one, ofOne := made("1")
		two, ofTwo := made("2")
		c := newCluster(one)
		w := newWriter(t, c, nobody)
		lead(t, w, func() {
			w.Set(ofOne)
			time.Sleep(time.Minute)
			if err := errors.Join(c.Delete(t.Context(), one), c.Create(t.Context(), two)); err != nil {
				t.Fatal(err)
			}
			late := entry()
			late.Entries[1].UID = "1"
			w.Set(late)
			time.Sleep(time.Minute)
			if got := c.conditions(t); len(got) != 0 || c.writes.Load() != 1 {
				t.Errorf("what is said of the one that is gone is written of the other: %v", got)
			}
			w.Set(ofTwo)
			time.Sleep(time.Minute)
			if len(c.conditions(t)) != 2 || c.writes.Load() != 2 {
				t.Errorf("it has %d conditions after %d writes", len(c.conditions(t)), c.writes.Load())
			}
		})
	})
}

func TestLongMessagesAreCut(t *testing.T) {
	e := report.NewEntry(ref, 1, true, []report.Issue{{Severity: report.Error, Reason: strings.Repeat("ä", maxMessage)}})
	text, _ := conditions(&verdict{entry: e}, time.Now())[Accepted]["message"].(string)
	if len(text) > maxMessage || !strings.HasSuffix(text, "ä...") {
		t.Errorf("%d bytes, ends in %q", len(text), text[len(text)-8:])
	}
}

func TestAddressesThatWereGivenAreWrittenDown(t *testing.T) {
	u := virtualService(map[string]any{"addresses": []any{map[string]any{"host": "old", "value": "240.240.0.1"}}})
	e := report.NewEntry(report.Ref{Group: kind.Group, Kind: "ServiceEntry", Namespace: "shop", Name: "r"}, 3, false, nil)
	e.Addresses = []report.GivenAddress{{Host: "a", Value: "240.240.0.2"}, {Host: "a", Value: "2001:2::2"}}
	for turn, want := range []bool{true, false} {
		if changed, err := merge(u, &verdict{entry: e}, time.Unix(0, 0)); err != nil || changed != want {
			t.Errorf("turn %d: changed %v, %v", turn, changed, err)
		}
	}
	list, _, err := unstructured.NestedSlice(u.Object, "status", "addresses")
	if err != nil || len(list) != 2 || list[0].(map[string]any)["value"] != "240.240.0.2" || list[1].(map[string]any)["host"] != "a" {
		t.Errorf("%v, %v", list, err)
	}
	e.Addresses = nil
	if changed, err := merge(u, &verdict{entry: e}, time.Unix(0, 0)); err != nil || !changed {
		t.Error("addresses that nobody gives any more stay", err)
	}
	if _, found, _ := unstructured.NestedSlice(u.Object, "status", "addresses"); found {
		t.Error("addresses that nobody gives any more stay")
	}
}
