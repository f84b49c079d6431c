// Package observe sets up the control plane's own logs, metrics and spans. It registers no metric of any component, keeps nothing
// global, and is not for traffic: a proxy's telemetry is its own.
package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Logger returns a logger that writes one line of key=value pairs per record, from level (debug, info, warn, error) on.
func Logger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: it is none of debug, info, warn, error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// Metrics measures a process: its components through otel's meters, the Go runtime beside them.
type Metrics struct {
	provider *sdkmetric.MeterProvider
	registry *prometheus.Registry
}

// NewMetrics returns Metrics that carry heddle_build_info for the named component.
func NewMetrics(component, version string) (*Metrics, error) {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "heddle_build_info", Help: "1; the labels say what runs",
		ConstLabels: prometheus.Labels{"component": component, "version": version}})
	info.Set(1)
	registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("making the metrics exporter: %w", err)
	}
	return &Metrics{provider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)), registry: registry}, nil
}

// Meter returns the meter of a component.
func (m *Metrics) Meter(component string) metric.Meter { return m.provider.Meter(component) }

// Registry takes collectors of libraries that know Prometheus only.
func (m *Metrics) Registry() prometheus.Registerer { return m.registry }

// Handler serves everything in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Traces makes spans of what a process does.
type Traces struct {
	provider *sdktrace.TracerProvider // nil: none are made
}

// NewTraces sends spans to an OTLP/gRPC receiver at endpoint (host:port, in the clear), or makes none where endpoint is empty.
// It dials later, in the background.
func NewTraces(ctx context.Context, endpoint, component, version string) (*Traces, error) {
	if endpoint == "" {
		return &Traces{}, nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, fmt.Errorf("making the span exporter for %s: %w", endpoint, err)
	}
	of := resource.NewSchemaless(attribute.String("service.name", component), attribute.String("service.version", version))
	return &Traces{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of))}, nil
}

// Tracer returns the tracer of a component.
func (t *Traces) Tracer(component string) trace.Tracer {
	if t.provider == nil {
		return noop.NewTracerProvider().Tracer(component)
	}
	return t.provider.Tracer(component)
}

// Provider returns what libraries take.
func (t *Traces) Provider() trace.TracerProvider {
	if t.provider == nil {
		return noop.NewTracerProvider()
	}
	return t.provider
}

// Run waits for ctx to end and then sends what is left, for at most grace.
func (t *Traces) Run(ctx context.Context, grace time.Duration) error {
	<-ctx.Done()
	if t.provider == nil {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := t.provider.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("sending the last spans: %w", err)
	}
	return nil
}
