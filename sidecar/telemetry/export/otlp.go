package export

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

const (
	batchSize  = 512
	batchEvery = time.Second
)

// SpanExporter reads finished spans and sends them over OTLP/gRPC to the receiver that each names.
type SpanExporter struct {
	spans    *telemetry.Spans
	log      *slog.Logger
	targets  map[string]*otlptrace.Exporter
	pending  map[string][]sdktrace.ReadOnlySpan // by target
	count    int
	hostname string
}

// NewSpanExporter returns an exporter of spans; instance is put on each as service.instance.id.
func NewSpanExporter(spans *telemetry.Spans, instance string, log *slog.Logger) *SpanExporter {
	return &SpanExporter{spans: spans, log: log, hostname: instance, targets: map[string]*otlptrace.Exporter{}, pending: map[string][]sdktrace.ReadOnlySpan{}}
}

// Run exports until ctx ends, and then what is left.
func (e *SpanExporter) Run(ctx context.Context) error {
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	for {
		select {
		case s := <-e.spans.C:
			e.pending[s.Target] = append(e.pending[s.Target], e.convert(s))
			if e.count++; e.count >= batchSize {
				e.flush(ctx)
			}
		case <-tick.C:
			e.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			e.flush(last)
			for _, x := range e.targets {
				if err := x.Shutdown(last); err != nil {
					e.log.Debug("closing span exporter", "error", err)
				}
			}
			return nil
		}
	}
}

// flush sends what is pending. A receiver that cannot be had loses its spans; it is logged, never retried without end.
func (e *SpanExporter) flush(ctx context.Context) {
	for target, spans := range e.pending {
		if len(spans) == 0 {
			continue
		}
		if err := e.send(ctx, target, spans); err != nil {
			e.spans.Lost(len(spans))
			e.log.Warn("exporting spans", "target", target, "spans", len(spans), "error", err)
		}
		delete(e.pending, target)
	}
	e.count = 0
}

func (e *SpanExporter) send(ctx context.Context, target string, spans []sdktrace.ReadOnlySpan) error {
	x := e.targets[target]
	if x == nil {
		var err error
		x, err = otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(target), otlptracegrpc.WithInsecure())
		if err != nil {
			return fmt.Errorf("making exporter: %w", err)
		}
		e.targets[target] = x
	}
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return x.ExportSpans(limit, spans)
}

func (e *SpanExporter) convert(s telemetry.Span) sdktrace.ReadOnlySpan {
	flags := trace.FlagsSampled
	stub := tracetest.SpanStub{
		Name:        s.Name,
		SpanKind:    trace.SpanKindServer,
		StartTime:   s.Start,
		EndTime:     s.End,
		SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: s.Trace.TraceID, SpanID: s.Trace.SpanID, TraceFlags: flags}),
		Resource:    resource.NewSchemaless(attribute.String("service.name", s.Service), attribute.String("service.instance.id", e.hostname)),
		Attributes:  []attribute.KeyValue{attribute.Int("http.status_code", s.Status)},
	}
	if s.Client {
		stub.SpanKind = trace.SpanKindClient
	}
	if s.Trace.ParentID != [8]byte{} {
		stub.Parent = trace.NewSpanContext(trace.SpanContextConfig{TraceID: s.Trace.TraceID, SpanID: s.Trace.ParentID, TraceFlags: flags, Remote: true})
	}
	for _, a := range s.Attributes {
		if a[1] != "" {
			stub.Attributes = append(stub.Attributes, attribute.String(a[0], a[1]))
		}
	}
	if s.Failed {
		stub.Status = sdktrace.Status{Code: codes.Error}
	}
	return stub.Snapshot()
}
