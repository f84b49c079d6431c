package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/injector/webhook"
)

// world is the webhook behind HTTP.
type world struct {
	t      *testing.T
	url    string
	reader *sdkmetric.ManualReader
	log    *bytes.Buffer
}

func serve(t *testing.T, namespaces func(context.Context, string) (map[string]string, error)) *world {
	t.Helper()
	w := &world{t: t, reader: sdkmetric.NewManualReader(), log: &bytes.Buffer{}}
	h, err := webhook.New(webhook.Config{
		Params:          func() inject.Params { return inject.DefaultParams("heddle/proxy:test", "test") },
		NamespaceLabels: namespaces,
		Meter:           sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)).Meter("injector"),
		Log:             slog.New(slog.NewTextHandler(w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

func enabled(context.Context, string) (map[string]string, error) {
	return map[string]string{wire.InjectionLabel: "enabled"}, nil
}

func request(operation admissionv1.Operation, pod string) *admissionv1.AdmissionRequest {
	r := &admissionv1.AdmissionRequest{UID: "u", Operation: operation, Namespace: "shop", Name: "web", Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}}
	if pod != "" {
		r.Object = runtime.RawExtension{Raw: []byte(pod)}
	}
	return r
}

func (w *world) post(body []byte) *admissionv1.AdmissionResponse {
	w.t.Helper()
	out, err := http.Post(w.url, "application/json", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Body.Close()
	text, _ := io.ReadAll(out.Body)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(text, &review); err != nil || review.Response == nil {
		w.t.Fatalf("answer %s: %v", text, err)
	}
	return review.Response
}

func (w *world) review(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	w.t.Helper()
	body, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: r})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.post(body)
}

func (w *world) counted() string {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &all); err != nil {
		w.t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
				result, _ := point.Attributes.Value("result")
				return result.AsString()
			}
		}
	}
	return ""
}

// The patch, applied to what the API server sent, gives what inject gives, and loses no field that we do not know.
func TestPatch(t *testing.T) {
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"web-","futureMeta":1},"spec":{"futureSpec":{"a":[1]},
		"initContainers":[{"name":"setup","futureInit":true}],
		"containers":[{"name":"app","futureApp":"x","livenessProbe":{"httpGet":{"path":"/","port":80},"futureProbe":2}},{"name":"b"}]}}`
	w := serve(t, enabled)
	out := w.review(request(admissionv1.Create, pod))
	if !out.Allowed || out.PatchType == nil || *out.PatchType != admissionv1.PatchTypeJSONPatch || out.UID != "u" {
		t.Fatalf("answer %+v", out)
	}
	decoded, err := jsonpatch.DecodePatch(out.Patch)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := decoded.Apply([]byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Metadata map[string]any
		Spec     struct {
			FutureSpec     any
			InitContainers []map[string]any
			Containers     []map[string]any
		}
	}
	if err := json.Unmarshal(patched, &got); err != nil {
		t.Fatal(err)
	}
	var names []any
	for _, c := range append(got.Spec.InitContainers, got.Spec.Containers...) {
		names = append(names, c["name"])
	}
	if want := []any{"heddle-redirect", "heddle-proxy", "setup", "app", "b"}; !reflect.DeepEqual(names, want) {
		t.Errorf("containers %v, want %v", names, want)
	}
	app := got.Spec.Containers[0]
	if got.Metadata["futureMeta"] == nil || got.Spec.FutureSpec == nil || got.Spec.InitContainers[2]["futureInit"] == nil || app["futureApp"] == nil {
		t.Errorf("fields that we do not know were lost: %s", patched)
	}
	probe := app["livenessProbe"].(map[string]any)
	if probe["httpGet"].(map[string]any)["port"] != float64(wire.PortStatus) || probe["futureProbe"] == nil {
		t.Errorf("the probe is %v", probe)
	}
	if got := w.counted(); got != "injected" {
		t.Errorf("counted as %q", got)
	}
	again := w.review(request(admissionv1.Create, string(patched)))
	if !again.Allowed || len(again.Patch) != 0 {
		t.Errorf("injected again: %+v", again)
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		why     string
		request *admissionv1.AdmissionRequest
		allowed bool
		counted string
		message string
	}{
		{"a deletion", request(admissionv1.Delete, ""), true, "", ""},
		{"an update", request(admissionv1.Update, `{"metadata":{"labels":{"sidecar.heddle.io/inject":"maybe"}}}`), true, "", ""},
		{"an ephemeral container", func() *admissionv1.AdmissionRequest {
			r := request(admissionv1.Create, `{}`)
			r.SubResource = "ephemeralcontainers"
			return r
		}(), true, "", ""},
		{"another kind", func() *admissionv1.AdmissionRequest {
			r := request(admissionv1.Create, `{}`)
			r.Resource.Resource = "services"
			return r
		}(), true, "", ""},
		{"a pod that says no", request(admissionv1.Create, `{"metadata":{"labels":{"sidecar.heddle.io/inject":"false"}}}`), true, "skipped", "is false"},
		{"a mistake", request(admissionv1.Create, `{"metadata":{"labels":{"sidecar.heddle.io/inject":"maybe"}}}`), false, "refused", "label sidecar.heddle.io/inject"},
		{"something that is no pod", request(admissionv1.Create, `{"spec":7}`), false, "error", "reading the pod"},
	} {
		w := serve(t, enabled)
		out := w.review(c.request)
		message := ""
		if out.Result != nil {
			message = out.Result.Message
		}
		if out.Allowed != c.allowed || len(out.Patch) > 0 || !strings.Contains(message, c.message) {
			t.Errorf("%s: allowed %t, %q", c.why, out.Allowed, message)
		}
		if got := w.counted(); got != c.counted {
			t.Errorf("%s: counted as %q, want %q", c.why, got, c.counted)
		}
	}
}

// A pod whose namespace cannot be read must not start without its proxy.
func TestUnknownNamespaceFailsClosed(t *testing.T) {
	w := serve(t, func(context.Context, string) (map[string]string, error) { return nil, errors.New("cache is not ready") })
	out := w.review(request(admissionv1.Create, `{"metadata":{"name":"web"}}`))
	if out.Allowed || w.counted() != "error" || !strings.Contains(w.log.String(), "cache is not ready") {
		t.Errorf("allowed %t, log %s", out.Allowed, w.log)
	}
}

func TestWarnings(t *testing.T) {
	w := serve(t, enabled)
	out := w.review(request(admissionv1.Create, `{"metadata":{"annotations":{"proxy.istio.io/config":"statusPort: 2"}},"spec":{"containers":[{"name":"app"}]}}`))
	if !out.Allowed || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "proxy.istio.io/config") {
		t.Errorf("warnings %v", out.Warnings)
	}
}

func TestGarbage(t *testing.T) {
	w := serve(t, enabled)
	for _, body := range []string{"", "{", "[]"} {
		if out := w.post([]byte(body)); out.Allowed {
			t.Errorf("%q was allowed", body)
		}
	}
}

// TestHookTokens: each pod has a token of its own.
func TestHookTokens(t *testing.T) {
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"containers":[{"name":"app","lifecycle":{"preStop":{"httpGet":{"path":"/bye","port":80}}}}]}}`
	w, seen := serve(t, enabled), map[string]bool{}
	for range 2 {
		out := w.review(request(admissionv1.Create, pod))
		at := bytes.Index(out.Patch, []byte(wire.PathAppLifecycle))
		if !out.Allowed || at < 0 {
			t.Fatalf("answer %+v", out)
		}
		token, _, _ := strings.Cut(string(out.Patch[at+len(wire.PathAppLifecycle):]), "/")
		if seen[token] || len(token) < 20 {
			t.Errorf("token %q", token)
		}
		seen[token] = true
	}
}
