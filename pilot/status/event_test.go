package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// long is a name of the greatest length, that has a dot where an Event's ends.
var long = strings.Repeat("a", 228) + "." + strings.Repeat("b", 24)

// board is a fake API server with objects, that counts Events and may refuse them.
type board struct {
	client.Client
	writes, refuse atomic.Int32
}

func newBoard() *board {
	b := &board{}
	about := []client.Object{
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "ledger", UID: "u1"}},
		&networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "ledger", UID: "u2"}},
		&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: long, UID: "u3"}},
	}
	b.Client = fake.NewClientBuilder().WithScheme(clientscheme.Scheme).WithObjects(about...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			b.writes.Add(1)
			if b.refuse.Add(-1) >= 0 {
				return errors.New("no")
			}
			return w.Create(ctx, o, opts...)
		},
	}).Build()
	return b
}

// events are what the API server was told.
func (b *board) events(t *testing.T) []corev1.Event {
	t.Helper()
	var list corev1.EventList
	if err := b.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// aboutService is a report with something to say about Services.
func aboutService(texts ...string) report.Report {
	var issues []report.Issue
	for _, text := range texts {
		issues = append(issues, report.Issue{Severity: report.Warning, Reason: text})
	}
	return report.Report{Entries: []*report.Entry{
		report.NewEntry(report.Ref{Kind: "Service", Namespace: "bank", Name: "gone"}, 0, false, issues),
		report.NewEntry(report.Ref{Kind: "Service", Namespace: "bank", Name: "ledger"}, 0, false, issues),
		report.NewEntry(ref, 3, false, issues), // a VirtualService, which has conditions
	}}
}

func TestServicesAreToldOfInEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.refuse.Store(2)
		term := func(f func(w *EventWriter)) {
			w := NewEventWriter(b, slog.New(slog.NewTextHandler(t.Output(), nil)))
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			f(w)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		term(func(w *EventWriter) {
			w.Set(aboutService("VirtualService shop/x, of another namespace, has rules for this Service"))
			time.Sleep(time.Minute)
			all := b.events(t)
			if len(all) != 1 || b.writes.Load() != 3 {
				t.Fatalf("%d events after %d writes: one that is refused is tried again, and one is enough", len(all), b.writes.Load())
			}
			e := all[0]
			if e.InvolvedObject.UID != "u1" || e.InvolvedObject.Name != "ledger" || e.Type != corev1.EventTypeWarning || e.Reason != eventReason ||
				e.Message != "warning: VirtualService shop/x, of another namespace, has rules for this Service" {
				t.Errorf("the event is %+v", e)
			}
			w.Set(aboutService("VirtualService shop/x, of another namespace, has rules for this Service"))
			time.Sleep(time.Minute)
			if n := b.writes.Load(); n != 3 {
				t.Errorf("%d writes for what was said", n)
			}
			w.Set(aboutService(strings.Repeat("long ", maxEvent)))
			time.Sleep(time.Minute)
			w.Set(aboutService())
			time.Sleep(2 * eventLife)
			if n, all := b.writes.Load(), b.events(t); n != 4 || len(all) != 2 {
				t.Errorf("%d writes, %d events, after something else is to be said, and then nothing", n, len(all))
			}
			w.Set(aboutService("again"))
			time.Sleep(3*eventLife + time.Minute)
			if n := b.writes.Load(); n < 6 || n > 9 {
				t.Errorf("%d writes: what holds is to be said again once an hour", n)
			}
		})
		before := b.writes.Load()
		term(func(w *EventWriter) {
			w.Set(aboutService("again"))
			time.Sleep(time.Minute)
		})
		if n, all := b.writes.Load()-before, b.events(t); n != 1 || len(all) != 3 {
			t.Errorf("another term: %d writes, %d events", n, len(all))
		}
	})
}

// TestIngressesAreToldOfInEvents holds that what is refused of them can be read where they are.
func TestIngressesAreToldOfInEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		w := NewEventWriter(b, slog.New(slog.NewTextHandler(t.Output(), nil)))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		of := func(kind, namespace, name string) *report.Entry {
			return report.NewEntry(report.Ref{Group: "networking.k8s.io", Kind: kind, Namespace: namespace, Name: name}, 1, false,
				[]report.Issue{{Severity: report.Error, Path: "spec", Reason: "wrong"}})
		}
		theirs := of("Ingress", "bank", "ledger")
		theirs.Foreign = true
		w.Set(report.Report{Entries: []*report.Entry{theirs}})
		time.Sleep(time.Minute)
		if n := b.writes.Load(); n != 0 {
			t.Errorf("%d writes about an Ingress of another control plane", n)
		}
		w.Set(report.Report{Entries: []*report.Entry{of("Ingress", "bank", "ledger"), of("IngressClass", "", long)}})
		time.Sleep(time.Minute)
		var got []string
		for _, e := range b.events(t) {
			about := e.InvolvedObject
			got = append(got, fmt.Sprintf("%s %s: %s %s %s/%s %s: %s", e.Namespace, e.Type, about.APIVersion, about.Kind, about.Namespace, about.Name, about.UID, e.Message))
			if wrong := validation.IsDNS1123Subdomain(e.Name); len(wrong) > 0 {
				t.Errorf("the name %s: %v", e.Name, wrong)
			}
		}
		want := []string{"bank Warning: networking.k8s.io/v1 Ingress bank/ledger u2: error: spec: wrong", "default Warning: networking.k8s.io/v1 IngressClass /" + long + " u3: error: spec: wrong"}
		if !slices.Equal(got, want) {
			t.Errorf("the events are\n%s", strings.Join(got, "\n"))
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAnotherServiceOfTheSameNameIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		w := NewEventWriter(b, slog.New(slog.NewTextHandler(t.Output(), nil)))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		r := aboutService("something")
		w.Set(r)
		time.Sleep(time.Minute)
		again := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "ledger", UID: "u2"}}
		if err := errors.Join(b.Delete(t.Context(), again.DeepCopy()), b.Create(t.Context(), again)); err != nil {
			t.Fatal(err)
		}
		r = aboutService("something")
		r.Entries[1].UID = "u2"
		w.Set(r)
		time.Sleep(time.Minute)
		if all := b.events(t); len(all) != 2 || all[0].InvolvedObject.UID == all[1].InvolvedObject.UID {
			t.Errorf("the events are %+v", all)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
