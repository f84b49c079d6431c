package status

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/pilot/report"
)

const (
	// eventLife is how long the API server keeps an Event unless it is told otherwise: what still holds then is said again.
	eventLife = time.Hour
	// maxEvent bounds an Event's text, in bytes, as the API server does.
	maxEvent = 1024
	// eventReason is the Events' reason.
	eventReason = "MeshWarning"
)

// EventWriter says in Events what is to be said about objects of Kubernetes' own kinds, whose status has no place for it.
type EventWriter struct {
	client client.Client
	log    *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	latest []*report.Entry
	fresh  chan struct{} // holds one
}

// NewEventWriter prepares a writer. The client must read from the API server, not from a cache.
func NewEventWriter(c client.Client, log *slog.Logger) *EventWriter {
	return &EventWriter{client: c, log: log, now: time.Now, fresh: make(chan struct{}, 1)}
}

// Set hands over the latest report. It never blocks.
func (w *EventWriter) Set(r report.Report) {
	var about []*report.Entry
	for _, e := range r.Entries {
		if toldInEvents(e.Ref) && len(e.Issues) > 0 && !e.Foreign {
			about = append(about, e)
		}
	}
	w.mu.Lock()
	w.latest = about
	w.mu.Unlock()
	w.wake()
}

// toldInEvents reports whether an object is one of those.
func toldInEvents(r report.Ref) bool {
	switch r.Group {
	case corev1.GroupName:
		return r.Kind == "Service"
	case networkingv1.GroupName:
		return r.Kind == "Ingress" || r.Kind == "IngressClass"
	}
	return false
}

func (w *EventWriter) wake() {
	select {
	case w.fresh <- struct{}{}:
	default:
	}
}

func (w *EventWriter) take() []*report.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// eventSaid is what was said about an object, and when.
type eventSaid struct {
	uid  string
	text string
	at   time.Time
}

// Run writes until ctx ends. It is to run while this replica leads. What another term said is there by its name, and is not said twice.
func (w *EventWriter) Run(ctx context.Context) error {
	said := map[report.Ref]eventSaid{}
	ticker := time.NewTicker(eventLife / 4)
	defer ticker.Stop()
	w.wake()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.fresh:
		case <-ticker.C:
		}
		if !w.pass(ctx, said) {
			time.AfterFunc(retry, w.wake)
		}
	}
}

// pass says what is new, and what was said so long ago that it is gone. It returns false if anything is left to do.
func (w *EventWriter) pass(ctx context.Context, said map[report.Ref]eventSaid) bool {
	present, complete := map[report.Ref]bool{}, true
	for _, e := range w.take() {
		present[e.Ref] = true
		text := eventText(e.Issues)
		if last, known := said[e.Ref]; known && last.uid == e.UID && last.text == text && w.now().Sub(last.at) < eventLife {
			continue
		}
		if !sleep(ctx, pace) {
			return true
		}
		if err := w.write(ctx, e.Ref, text); err != nil {
			w.log.Warn("writing an event failed", "object", e.Ref.String(), "err", err)
			complete = false
			continue
		}
		said[e.Ref] = eventSaid{e.UID, text, w.now()}
	}
	for ref := range said {
		if !present[ref] {
			delete(said, ref)
		}
	}
	return complete || ctx.Err() != nil
}

func eventText(issues []report.Issue) string {
	var lines []string
	for _, i := range issues {
		lines = append(lines, i.String())
	}
	return cut(strings.Join(lines, "\n"), maxEvent)
}

// write makes the Event, unless it is there. An object that is gone needs none. What has no namespace is told of in the default one, as the API server wants it.
func (w *EventWriter) write(ctx context.Context, ref report.Ref, text string) error {
	about := &metav1.PartialObjectMetadata{}
	version := schema.GroupVersion{Group: ref.Group, Version: "v1"}
	about.SetGroupVersionKind(version.WithKind(ref.Kind))
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, about); err != nil {
		return client.IgnoreNotFound(err)
	}
	sum := fnv.New64a()
	sum.Write([]byte(text + string(about.UID)))
	now := metav1.NewTime(w.now())
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: cmp.Or(ref.Namespace, metav1.NamespaceDefault), Name: eventName(ref.Name, sum.Sum64())},
		InvolvedObject: corev1.ObjectReference{APIVersion: version.String(), Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name, UID: about.UID},
		Type:           corev1.EventTypeWarning, Reason: eventReason, Message: text, Source: corev1.EventSource{Component: "heddled"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	if err := w.client.Create(ctx, event); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("writing an event: %w", err)
	}
	return nil
}

// eventName is a name that the API server takes, of whatever length the object's own is.
func eventName(of string, sum uint64) string {
	of = of[:min(len(of), validation.DNS1123SubdomainMaxLength-len(".heddle-")-16)]
	return fmt.Sprintf("%s.heddle-%x", strings.TrimRight(of, "-."), sum)
}
