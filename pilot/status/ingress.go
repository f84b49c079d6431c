package status

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apply "k8s.io/client-go/applyconfigurations/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// fieldOwner is who the API server knows to have written an Ingress's addresses.
const fieldOwner = client.FieldOwner("heddle")

// IngressWriter writes into the status of Ingresses where they are to be had. Of one that is no longer among them it takes back what it wrote.
type IngressWriter struct {
	client client.Client
	log    *slog.Logger

	mu     sync.Mutex
	latest report.Published
	fresh  chan struct{} // holds one
}

// NewIngressWriter prepares a writer. The client must read from the API server, not from a cache.
func NewIngressWriter(c client.Client, log *slog.Logger) *IngressWriter {
	return &IngressWriter{client: c, log: log, fresh: make(chan struct{}, 1)}
}

// Set hands over the latest report. It never blocks.
func (w *IngressWriter) Set(r report.Report) {
	w.mu.Lock()
	w.latest = r.Ingresses
	w.mu.Unlock()
	w.wake()
}

func (w *IngressWriter) wake() {
	select {
	case w.fresh <- struct{}{}:
	default:
	}
}

func (w *IngressWriter) take() report.Published {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// addressed is an Ingress that was written, and what.
type addressed struct {
	object    report.Object
	addresses []report.Address
}

// Run writes until ctx ends. It is to run while this replica leads; it trusts nothing that another term wrote.
func (w *IngressWriter) Run(ctx context.Context) error {
	written := map[report.Ref]addressed{}
	w.wake()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.fresh:
		}
		if !w.pass(ctx, written) {
			time.AfterFunc(retry, w.wake)
		}
	}
}

// pass writes what differs from what was written, and returns false if anything is left to do.
func (w *IngressWriter) pass(ctx context.Context, written map[report.Ref]addressed) bool {
	published, present, complete := w.take(), map[report.Ref]bool{}, true
	for _, o := range published.Objects {
		present[o.Ref] = true
		if last, known := written[o.Ref]; known && last.object == o && slices.Equal(last.addresses, published.Addresses) {
			continue
		}
		if w.tried(ctx, o, published.Addresses) {
			written[o.Ref] = addressed{o, published.Addresses}
		} else {
			complete = false
		}
	}
	for ref, last := range written {
		if !present[ref] {
			if w.tried(ctx, last.object, nil) {
				delete(written, ref)
			} else {
				complete = false
			}
		}
	}
	return complete || ctx.Err() != nil
}

// tried writes, and reports whether that is done with.
func (w *IngressWriter) tried(ctx context.Context, o report.Object, addresses []report.Address) bool {
	if !sleep(ctx, pace) {
		return false
	}
	err := w.write(ctx, o, addresses)
	if err != nil && ctx.Err() == nil {
		w.log.Warn("writing the addresses of an Ingress failed", "object", o.Ref.String(), "err", err)
	}
	return err == nil
}

// write applies addresses, if the Ingress has others. One that is gone needs none, and of another that has its name another report is under way.
func (w *IngressWriter) write(ctx context.Context, o report.Object, addresses []report.Address) error {
	ref, live := o.Ref, &networkingv1.Ingress{}
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, live); err != nil {
		return client.IgnoreNotFound(err)
	}
	if string(live.UID) != o.UID || slices.EqualFunc(live.Status.LoadBalancer.Ingress, addresses, func(a networkingv1.IngressLoadBalancerIngress, b report.Address) bool {
		return a.IP == b.IP && a.Hostname == b.Hostname
	}) {
		return nil
	}
	balancer := apply.IngressLoadBalancerStatus()
	for _, a := range addresses {
		one := apply.IngressLoadBalancerIngress()
		if a.IP != "" {
			one.WithIP(a.IP)
		}
		if a.Hostname != "" {
			one.WithHostname(a.Hostname)
		}
		balancer.WithIngress(one)
	}
	wanted := apply.Ingress(ref.Name, ref.Namespace).WithStatus(apply.IngressStatus().WithLoadBalancer(balancer))
	if err := w.client.Status().Apply(ctx, wanted, fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("applying the status: %w", err)
	}
	return nil
}
