// Package status is pilot's only writer to the Kubernetes API: it writes the report, and how far each object got among the proxies, into the
// status of Istio's kinds. It sees only reports, writes statuses only while its replica leads, compares before it writes, and never writes anything
// but status; and the ConfigMap by which the replicas tell each other of their proxies (Exchange).
package status

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/distribution"
	"github.com/heddle-mesh/heddle/pilot/report"
)

const (
	// pace is the least time between two objects: at most fifty are read, and at most fifty written, in a second.
	pace = 20 * time.Millisecond
	// retry is how long after a failed write the object is tried again.
	retry = 5 * time.Second
	// attempts is how often a write is tried at once while others write the same object.
	attempts = 4
	// look is how often it is looked how far objects got that not all proxies have acknowledged.
	look = 2 * time.Second
	// rarely is how often, in looks, it is looked whether Secrets are there where nothing else is to be waited for.
	rarely = 10
	// grace is how long a verdict waits for the proxies, so that most changes cost one write.
	grace = 2 * time.Second
	// again is how long after a write an object is written again at the earliest; slowly, where only the number of proxies differs.
	again  = time.Second
	slowly = 30 * time.Second
	// seldom is how long after it at most where refusals come and go, see patience.
	seldom = time.Hour
	// maxMessage bounds a condition's message, in bytes.
	maxMessage = 4096
)

// Counter says how far objects got among the proxies of all replicas. The error says that the other replicas cannot be asked.
type Counter func(ctx context.Context) (*distribution.Sum, error)

// Writer writes statuses.
type Writer struct {
	client client.Client
	count  Counter
	log    *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	latest report.Report
	fresh  chan struct{} // holds one
}

// New prepares a Writer. The client must read from the API server, not from a cache.
func New(c client.Client, count Counter, log *slog.Logger) *Writer {
	return &Writer{client: c, count: count, log: log, now: time.Now, fresh: make(chan struct{}, 1)}
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

// object is what a term knows of one object.
type object struct {
	verdict *verdict  // the latest
	since   time.Time // when the object was judged so
	written *verdict  // nil: nothing in this term
	at      time.Time // of the last write, or of the last attempt
	failed  bool
	done    bool // its status says that all proxies have acknowledged its generation
	turns   int  // writes since it was judged so, of refusals or of their end
}

// finished reports whether what was written needs no second look for the proxies' sake.
func (o *object) finished() bool { return o.done || o.written.settled() }

// Run writes until ctx ends. It is to run while this replica leads; it trusts nothing that another term wrote.
func (w *Writer) Run(ctx context.Context) error {
	term := map[report.Ref]*object{}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	w.wake()
	for idle := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-w.fresh:
		case <-ticker.C:
			if idle++; !waiting(term) && idle < rarely {
				continue
			}
		}
		idle = 0
		w.pass(ctx, term)
	}
}

// waiting reports whether there is anything left to write, now or later.
func waiting(term map[report.Ref]*object) bool {
	for _, o := range term {
		if o.failed || o.written == nil || !o.written.judged(o.verdict) || !o.finished() {
			return true
		}
	}
	return false
}

// pass writes what is due.
func (w *Writer) pass(ctx context.Context, term map[report.Ref]*object) {
	sum, err := w.count(ctx)
	if err != nil && ctx.Err() == nil {
		w.log.Warn("the other replicas cannot be asked how far objects got", "err", err)
	}
	entries := w.take().Entries
	named := secretsOf(entries)
	present := map[report.Ref]bool{}
	for _, e := range entries {
		if !distribution.Counted(e.Ref) || e.Foreign {
			continue
		}
		present[e.Ref] = true
		o := term[e.Ref]
		if o == nil {
			o = &object{}
			term[e.Ref] = o
		}
		o.judge(verdictOf(e, sum, named), w.now())
	}
	for ref := range term {
		if !present[ref] {
			delete(term, ref)
		}
	}
	for _, ref := range w.due(term) {
		if ctx.Err() != nil || len(w.fresh) > 0 { // a newer report comes first
			return
		}
		w.tend(ctx, term[ref])
	}
}

// verdictOf joins what is known of an object.
func verdictOf(e *report.Entry, sum *distribution.Sum, named map[string]bool) *verdict {
	v := &verdict{entry: e}
	if sum != nil {
		v.acked, v.counted = sum.Of(e)
		v.missing = missing(e, sum.Missing, named)
	}
	return v
}

// judge takes the latest verdict.
func (o *object) judge(v *verdict, now time.Time) {
	if o.verdict == nil || !o.verdict.judged(v) {
		o.since, o.turns = now, 0
	}
	o.verdict = v
}

// due are the objects to be written now. The latest changes come first: a new leader has much to read that did not change.
func (w *Writer) due(term map[report.Ref]*object) []report.Ref {
	var out []report.Ref
	now := w.now()
	for ref, o := range term {
		if o.due(now) {
			out = append(out, ref)
		}
	}
	slices.SortFunc(out, func(a, b report.Ref) int { return cmp.Or(term[b].since.Compare(term[a].since), a.Compare(b)) })
	return out
}

// due reports whether the object is to be written now.
func (o *object) due(now time.Time) bool {
	rest, v, last := now.Sub(o.at), o.verdict, o.written
	switch {
	case o.failed:
		return rest >= retry
	case last == nil || !last.judged(v):
		return rest >= again && (v.settled() || len(v.acked.Refused) > 0 || now.Sub(o.since) >= grace)
	case !v.inForce() || !v.counted:
		return false
	case o.finished():
		return len(v.acked.Refused) > 0 && rest >= o.patience()
	case v.settled() || !last.counted || !slices.Equal(last.acked.Refused, v.acked.Refused):
		return rest >= o.patience()
	}
	return (last.acked.Acked != v.acked.Acked || last.acked.Proxies != v.acked.Proxies) && rest >= slowly
}

// patience is how long after a write refusals, or their end, are told of: each time four times as long, as a proxy that fails at its start refuses, goes and
// comes again, and each time concerns every object.
func (o *object) patience() time.Duration { return min(again<<min(2*o.turns, 12), seldom) }

// tend writes one object.
func (w *Writer) tend(ctx context.Context, o *object) {
	v, done, err := o.verdict, false, error(nil)
	for range attempts {
		if done, err = w.write(ctx, v); !apierrors.IsConflict(err) {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	o.at, o.failed = w.now(), err != nil
	if err == nil {
		if len(v.acked.Refused) > 0 || o.written != nil && len(o.written.acked.Refused) > 0 {
			o.turns++
		}
		o.written, o.done = v, done
		return
	}
	w.log.Warn("writing a status failed", "object", v.entry.Ref.String(), "err", err)
}

// write reads one object, merges the conditions in and, if that changes anything, writes it back. An object that is gone, newer than the
// report, or another than it is about needs no status now: another report is under way. It returns whether the object says that all proxies have acknowledged it.
func (w *Writer) write(ctx context.Context, v *verdict) (bool, error) {
	if !sleep(ctx, pace) {
		return false, ctx.Err()
	}
	ref := v.entry.Ref
	mapping, err := w.client.RESTMapper().RESTMapping(schema.GroupKind{Group: ref.Group, Kind: ref.Kind})
	if err != nil {
		return false, fmt.Errorf("finding the kind: %w", err)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(mapping.GroupVersionKind)
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, u); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if string(u.GetUID()) != v.entry.UID || u.GetGeneration() != v.entry.Generation {
		return false, nil
	}
	changed, err := merge(u, v, w.now())
	if err == nil && changed {
		err = client.IgnoreNotFound(w.client.Status().Update(ctx, u))
	}
	return acknowledgedBy(u, v.entry.Generation), err
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// secretsOf are the Secrets that objects name, each as of the object's own namespace.
func secretsOf(entries []*report.Entry) map[string]bool {
	out := map[string]bool{}
	for _, e := range entries {
		for _, name := range e.Secrets {
			out[e.Ref.Namespace+"/"+name] = true
		}
	}
	return out
}

// missing are the Secrets that an object names and that some proxy waits for: in its own namespace, or in another, whose gateways it must then
// be that it selects, where no object of that namespace names the Secret.
func missing(e *report.Entry, waited map[string]string, named map[string]bool) []report.Issue {
	var out []report.Issue
	for _, name := range e.Secrets {
		for _, at := range slices.Sorted(maps.Keys(waited)) {
			namespace, secret, _ := strings.Cut(at, "/")
			if base := strings.TrimSuffix(secret, wire.CACertSuffix); base != name && secret != name {
				continue
			}
			if namespace == e.Ref.Namespace || !named[namespace+"/"+name] {
				out = append(out, report.Issue{Severity: report.Warning, Topic: report.Reference,
					Reason: fmt.Sprintf("the Secret %s is not there, cannot be used, or may not be read by the gateway: %s waits for it", at, waited[at])})
			}
		}
	}
	return out
}
