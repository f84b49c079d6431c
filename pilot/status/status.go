// Package status is pilot's only writer to the Kubernetes API: it writes the report into the status of Istio's kinds. It sees only the
// report, runs only while its replica leads, compares before it writes, and never writes anything but status.
package status

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// Condition is the type of the condition that Heddle writes. Others are left as they are.
const Condition = "Accepted"

const (
	// pace is the least time between two requests to the API server.
	pace = 20 * time.Millisecond
	// retry is how long after a failed write the object is tried again.
	retry = 5 * time.Second
	// maxMessage bounds a condition's message, in bytes.
	maxMessage = 4096
)

// Writer writes statuses.
type Writer struct {
	client client.Client
	log    *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	latest report.Report
	fresh  chan struct{} // holds one
}

// New prepares a Writer. The client must read from the API server, not from a cache.
func New(c client.Client, log *slog.Logger) *Writer {
	return &Writer{client: c, log: log, now: time.Now, fresh: make(chan struct{}, 1)}
}

// Set hands over the latest report. It never blocks; a report that nobody wrote yet is replaced.
func (w *Writer) Set(r report.Report) {
	w.mu.Lock()
	w.latest = r
	w.mu.Unlock()
	w.wake()
}

func (w *Writer) wake() {
	select {
	case w.fresh <- struct{}{}:
	default:
	}
}

func (w *Writer) take() report.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// Run writes until ctx ends. It is to run while this replica leads; it trusts nothing that another term wrote.
func (w *Writer) Run(ctx context.Context) error {
	written := map[report.Ref]*report.Entry{}
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
func (w *Writer) pass(ctx context.Context, written map[report.Ref]*report.Entry) bool {
	complete, present := true, map[report.Ref]bool{}
	for _, e := range w.take().Entries {
		if !strings.HasSuffix(e.Ref.Group, ".istio.io") {
			continue
		}
		present[e.Ref] = true
		if same(written[e.Ref], e) {
			continue
		}
		if ctx.Err() != nil || len(w.fresh) > 0 { // a newer report comes first
			return true
		}
		switch err := w.write(ctx, e); {
		case err == nil:
			written[e.Ref] = e
		case ctx.Err() != nil:
			return true
		case apierrors.IsConflict(err):
			complete = false
		default:
			complete = false
			w.log.Warn("writing a status failed", "object", e.Ref.String(), "err", err)
		}
	}
	for ref := range written {
		if !present[ref] {
			delete(written, ref)
		}
	}
	return complete
}

func same(a, b *report.Entry) bool {
	return a == b || a != nil && a.Generation == b.Generation && a.State == b.State && slices.Equal(a.Issues, b.Issues) && slices.Equal(a.Addresses, b.Addresses)
}

// write reads one object, merges the condition in and, if that changes anything, writes it back. An object that is gone, or newer than
// the report, needs no status now: another report is under way.
func (w *Writer) write(ctx context.Context, e *report.Entry) error {
	if !sleep(ctx, pace) {
		return ctx.Err()
	}
	mapping, err := w.client.RESTMapper().RESTMapping(schema.GroupKind{Group: e.Ref.Group, Kind: e.Ref.Kind})
	if err != nil {
		return fmt.Errorf("finding the kind: %w", err)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(mapping.GroupVersionKind)
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: e.Ref.Namespace, Name: e.Ref.Name}, u); err != nil {
		return client.IgnoreNotFound(err)
	}
	if u.GetGeneration() != e.Generation {
		return nil
	}
	changed, err := merge(u, e, w.now())
	if err != nil || !changed {
		return err
	}
	return client.IgnoreNotFound(w.client.Status().Update(ctx, u))
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
