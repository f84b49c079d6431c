// Package webhook answers the API server's question whether a new pod gets a proxy, with a JSON patch. It only carries: inject
// decides. It refuses nothing but pods whose author made a mistake, and lets everything but the creation of pods pass.
package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/heddle-mesh/heddle/injector/inject"
)

// Path is where the handler is served, as the webhook configuration names it.
const Path = "/inject"

// Config is what the webhook needs.
type Config struct {
	Params func() inject.Params // asked for each time: nodes and settings change
	// NamespaceLabels returns the labels of a namespace. It must not answer from a cache alone: a pod may be made right after its
	// namespace.
	NamespaceLabels func(ctx context.Context, namespace string) (map[string]string, error)
	Meter           metric.Meter
	Log             *slog.Logger
}

type handler struct {
	Config
	requests metric.Int64Counter
}

// New returns the webhook; it fails only where the meter refuses an instrument.
func New(c Config) (http.Handler, error) {
	requests, err := c.Meter.Int64Counter("heddle.injection.requests", metric.WithDescription("pods by result: injected, skipped, refused or error"))
	if err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	h := &handler{Config: c, requests: requests}
	return admission.StandaloneWebhook(&admission.Webhook{Handler: h}, admission.StandaloneOptions{Logger: logr.FromSlogHandler(c.Log.Handler())})
}

// Results of a request.
const (
	resultInjected = "injected"
	resultSkipped  = "skipped"
	resultRefused  = "refused"
	resultError    = "error"
)

// Handle answers one review.
func (h *handler) Handle(ctx context.Context, r admission.Request) admission.Response {
	if r.Operation != admissionv1.Create || r.Resource.Resource != "pods" || r.SubResource != "" {
		return admission.Allowed("only new pods are injected")
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(r.Object.Raw, pod); err != nil {
		return h.failed(ctx, r, pod, http.StatusBadRequest, fmt.Errorf("reading the pod: %w", err))
	}
	labels, err := h.NamespaceLabels(ctx, r.Namespace)
	if err != nil {
		return h.failed(ctx, r, pod, http.StatusInternalServerError, fmt.Errorf("reading namespace %s: %w", r.Namespace, err))
	}
	params := h.Params()
	params.HookToken = rand.Text()
	result, err := inject.Inject(inject.Request{Pod: pod, Namespace: r.Namespace, NamespaceLabels: labels}, params)
	if err != nil {
		h.count(ctx, resultRefused)
		h.Log.Warn("pod refused", "namespace", r.Namespace, "pod", name(pod), "err", err)
		return admission.Denied("injecting the proxy: " + err.Error())
	}
	if !result.Injected {
		h.count(ctx, resultSkipped)
		h.Log.Debug("pod not injected", "namespace", r.Namespace, "pod", name(pod), "reason", result.Reason)
		return admission.Allowed(result.Reason)
	}
	response, err := patch(r.Object.Raw, pod, result.Pod)
	if err != nil {
		return h.failed(ctx, r, pod, http.StatusInternalServerError, err)
	}
	h.count(ctx, resultInjected)
	h.Log.Info("pod injected", "namespace", r.Namespace, "pod", name(pod))
	return response.WithWarnings(result.Warnings...)
}

func (h *handler) failed(ctx context.Context, r admission.Request, pod *corev1.Pod, code int32, err error) admission.Response {
	h.count(ctx, resultError)
	h.Log.Error("pod could not be judged", "namespace", r.Namespace, "pod", name(pod), "err", err)
	return admission.Errored(code, err)
}

func (h *handler) count(ctx context.Context, result string) {
	h.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}

// name is what a pod is called before it has a name.
func name(pod *corev1.Pod) string {
	if pod.Name != "" {
		return pod.Name
	}
	return pod.GenerateName + "*"
}
