package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

func TestCallsAndRequestsAreSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("t")
	_, err := tracedCalls(tracer)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/ca/Sign"}, func(ctx context.Context, _ any) (any, error) {
		if !trace.SpanContextFromContext(ctx).IsValid() {
			t.Error("the call does not run inside its span")
		}
		return nil, errors.New("no")
	})
	if err == nil {
		t.Error("the error is lost")
	}
	handler := tracedRequests(tracer, http.NotFoundHandler())
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/inject", nil))
	spans := recorder.Ended()
	if len(spans) != 2 || spans[0].Name() != "/ca/Sign" || spans[0].Status().Code != codes.Error || spans[1].Name() != "POST /inject" {
		t.Errorf("got %v", spans)
	}
}

func TestDebugIsForThePodItself(t *testing.T) {
	handler := loopback(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for from, want := range map[string]int{"127.0.0.1:1": 200, "[::1]:1": 200, "[::ffff:127.0.0.1]:1": 200, "10.0.0.1:1": 403, "[fd00::1]:1": 403, "nonsense": 403} {
		request := httptest.NewRequest(http.MethodGet, "/debug/syncz", nil)
		request.RemoteAddr = from
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request)
		if w.Code != want {
			t.Errorf("from %s: %d, want %d", from, w.Code, want)
		}
	}
}

func TestReadyOnlyWhileItRuns(t *testing.T) {
	state := &health{}
	ask := func(path string) int {
		w := httptest.NewRecorder()
		state.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	if ask("/ready") != 503 || ask("/live") != 200 {
		t.Errorf("before: ready %d, live %d", ask("/ready"), ask("/live"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- state.component().Run(ctx) }()
	for ask("/ready") != 200 {
	}
	cancel()
	if err := <-done; err != nil || ask("/ready") != 503 {
		t.Errorf("after: ready %d (%v)", ask("/ready"), err)
	}
}
