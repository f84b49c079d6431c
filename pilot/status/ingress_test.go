package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/heddle-mesh/heddle/pilot/report"
)

var (
	web = report.Ref{Group: "networking.k8s.io", Kind: "Ingress", Namespace: "shop", Name: "web"}
	api = report.Ref{Group: "networking.k8s.io", Kind: "Ingress", Namespace: "shop", Name: "api"}
)

// door is a fake API server with Ingresses, that counts requests and may refuse writes.
type door struct {
	client.Client
	gets, writes, refuse atomic.Int32
}

func newDoor(refs ...report.Ref) *door {
	d := &door{}
	var objects []client.Object
	for _, r := range refs {
		objects = append(objects, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name, UID: "1"}})
	}
	d.Client = fake.NewClientBuilder().WithScheme(clientscheme.Scheme).WithObjects(objects...).WithStatusSubresource(&networkingv1.Ingress{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				d.gets.Add(1)
				return w.Get(ctx, key, o, opts...)
			},
			SubResourceApply: func(ctx context.Context, w client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
				d.writes.Add(1)
				if d.refuse.Add(-1) >= 0 {
					return errors.New("no")
				}
				return w.SubResource(sub).Apply(ctx, o, opts...)
			},
		}).Build()
	return d
}

// addresses is what an Ingress says.
func (d *door) addresses(t *testing.T, of report.Ref) string {
	t.Helper()
	in := &networkingv1.Ingress{}
	if err := d.Client.Get(t.Context(), client.ObjectKey{Namespace: of.Namespace, Name: of.Name}, in); err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, a := range in.Status.LoadBalancer.Ingress {
		text += fmt.Sprintf("%s%s ", a.IP, a.Hostname)
	}
	return text
}

func published(addresses []report.Address, objects ...report.Ref) report.Report {
	r := report.Report{Ingresses: report.Published{Addresses: addresses}}
	for _, ref := range objects {
		r.Ingresses.Objects = append(r.Ingresses.Objects, report.Object{Ref: ref, UID: "1"})
	}
	return r
}

func ingressTerm(t *testing.T, w *IngressWriter, term func()) {
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

func TestIngressesSayWhereTheyAreToBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(web, api)
		d.refuse.Store(1)
		w := NewIngressWriter(d, slog.New(slog.NewTextHandler(t.Output(), nil)))
		at := []report.Address{{IP: "192.0.2.1"}, {Hostname: "edge.example.com"}}
		w.Set(published(at, web, api))
		time.Sleep(time.Minute)
		if d.writes.Load() != 0 {
			t.Errorf("%d writes without leadership", d.writes.Load())
		}
		ingressTerm(t, w, func() {
			time.Sleep(time.Minute)
			const want = "192.0.2.1 edge.example.com "
			if a, b := d.addresses(t, web), d.addresses(t, api); a != want || b != want || d.writes.Load() != 3 {
				t.Errorf("after a refused write: %q, %q, %d writes", a, b, d.writes.Load())
			}
			gets := d.gets.Load()
			w.Set(published(at, web, api))
			time.Sleep(time.Minute)
			if d.gets.Load() != gets || d.writes.Load() != 3 {
				t.Error("the same addresses ask for something")
			}
			w.Set(published([]report.Address{{IP: "192.0.2.2"}}, web))
			time.Sleep(time.Minute)
			if a, b := d.addresses(t, web), d.addresses(t, api); a != "192.0.2.2 " || b != "" {
				t.Errorf("after a change: %q, and %q where it is not ours any more", a, b)
			}
		})
		writes := d.writes.Load()
		ingressTerm(t, w, func() { time.Sleep(time.Minute) })
		if d.writes.Load() != writes {
			t.Errorf("a new term wrote %d times what was there", d.writes.Load()-writes)
		}
	})
}

func TestAnotherIngressOfTheSameNameGetsTheAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(web)
		w := NewIngressWriter(d, slog.New(slog.NewTextHandler(t.Output(), nil)))
		ingressTerm(t, w, func() {
			r := published([]report.Address{{IP: "192.0.2.1"}}, web)
			w.Set(r)
			time.Sleep(time.Minute)
			in := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: web.Namespace, Name: web.Name, UID: "2"}}
			if err := errors.Join(d.Delete(t.Context(), in.DeepCopy()), d.Create(t.Context(), in)); err != nil {
				t.Fatal(err)
			}
			r.Ingresses.Objects = []report.Object{{Ref: web, UID: "2"}}
			w.Set(r)
			time.Sleep(time.Minute)
			if got := d.addresses(t, web); got != "192.0.2.1 " || d.writes.Load() != 2 {
				t.Errorf("it says %q after %d writes", got, d.writes.Load())
			}
		})
	})
}

func TestAnIngressThatIsGoneNeedsNoAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		w := NewIngressWriter(d, slog.New(slog.NewTextHandler(t.Output(), nil)))
		ingressTerm(t, w, func() {
			w.Set(published([]report.Address{{IP: "192.0.2.1"}}, web))
			time.Sleep(time.Minute)
		})
		if d.writes.Load() != 0 || d.gets.Load() != 1 {
			t.Errorf("%d writes, %d reads", d.writes.Load(), d.gets.Load())
		}
	})
}
