package observe_test

import (
	"bytes"
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/heddle-mesh/heddle/internal/observe"
)

func TestLoggerKeepsItsLevel(t *testing.T) {
	var out bytes.Buffer
	log, err := observe.Logger(&out, "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud", "pod", "a")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "msg=loud pod=a") {
		t.Errorf("logged %q", got)
	}
	if _, err := observe.Logger(&out, "chatty"); err == nil || !strings.Contains(err.Error(), `"chatty"`) {
		t.Errorf("an unknown level gave %v", err)
	}
}

func TestMetricsServeWhatWasCounted(t *testing.T) {
	m, err := observe.NewMetrics("heddled", "v1")
	if err != nil {
		t.Fatal(err)
	}
	counter, err := m.Meter("ca").Int64Counter("heddle.ca.requests")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"heddle_ca_requests_total 3", `heddle_build_info{component="heddled",version="v1"} 1`, "go_goroutines"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in\n%s", want, w.Body)
		}
	}
}

// receiver counts the spans that arrive.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	spans atomic.Int64
}

func (r *receiver) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, resource := range in.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			r.spans.Add(int64(len(scope.Spans)))
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansAreSentBeforeTheEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, server := &receiver{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	traces, err := observe.NewTraces(t.Context(), listener.Addr().String(), "heddled", "v1")
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.Tracer("pilot").Start(t.Context(), "translate")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = traces.Run(ctx, 10*time.Second)
	if err != nil || r.spans.Load() != 1 {
		t.Errorf("%d spans arrived, want 1 (%v)", r.spans.Load(), err)
	}
}

func TestWithoutAnEndpointNoSpans(t *testing.T) {
	traces, err := observe.NewTraces(t.Context(), "", "heddled", "v1")
	if err != nil {
		t.Fatal(err)
	}
	if _, span := traces.Tracer("pilot").Start(t.Context(), "translate"); span.IsRecording() {
		t.Error("a span is recorded for nobody")
	}
}
