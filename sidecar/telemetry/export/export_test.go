package export

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

func finished(tracing *exchange.Tracing) *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{Via: &exchange.Via{Direction: exchange.Outbound, Tracing: tracing}, Source: netip.MustParseAddrPort("10.0.0.1:1")})
	x.Protocol, x.Start, x.End, x.Response.Status = exchange.HTTP2, time.Unix(100, 0), time.Unix(101, 0), 503
	return x
}

func TestCollector(t *testing.T) {
	rec := telemetry.New(telemetry.Options{})
	rec.End(finished(nil))
	bad := finished(nil)
	bad.Outcome, bad.Details = exchange.BadRequest, "http1.invalid_url"
	rec.End(bad)
	rec.Opened(&exchange.Connection{Via: &exchange.Via{Direction: exchange.Outbound}})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(rec, telemetry.NewAccessLogs(nil), telemetry.NewSpans()))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
	}
	for name, want := range map[string]float64{telemetry.MetricRequests: 2, telemetry.MetricDuration: 2000, telemetry.MetricTCPOpened: 1, telemetry.MetricPanics: 0, telemetry.MetricMalformed: 1} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: %v, want %v", name, v, want)
		}
	}
}

// TestLeftOutMetricsAreNotExported: a scrape has neither a metric that nobody counts nor a label that is left out.
func TestLeftOutMetricsAreNotExported(t *testing.T) {
	metrics, err := telemetry.ReadMetrics(map[string]string{"REQUEST_SIZE": "off", "REQUEST_COUNT": "reporter"})
	if err != nil {
		t.Fatal(err)
	}
	rec, x := telemetry.New(telemetry.Options{}), finished(nil)
	x.Conn.Via = &exchange.Via{Metrics: metrics}
	rec.End(x)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(rec, nil, nil))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		for _, l := range f.GetMetric()[0].GetLabel() {
			if l.GetName() == "reporter" {
				got[f.GetName()] = l.GetValue()
			}
		}
	}
	if v, ok := got[telemetry.MetricRequests]; !ok || v != "" || got[telemetry.MetricDuration] != "source" {
		t.Errorf("got %v", got)
	}
	if _, ok := got[telemetry.MetricRequestBytes]; ok {
		t.Errorf("got %v", got)
	}
}

// receiver is a real OTLP receiver.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	got chan *collector.ExportTraceServiceRequest
}

func (r *receiver) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.got <- in
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansReachAReceiver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, r := grpc.NewServer(), &receiver{got: make(chan *collector.ExportTraceServiceRequest, 1)}
	collector.RegisterTraceServiceServer(server, r)
	go server.Serve(l)
	defer server.Stop()

	spans := telemetry.NewSpans()
	rec := telemetry.New(telemetry.Options{Spans: spans})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go NewSpanExporter(spans, "pod-1", slog.New(slog.DiscardHandler)).Run(ctx)
	x := finished(&exchange.Tracing{Sampling: 10_000, Target: l.Addr().String(), Service: "shop"})
	x.Request.Add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	rec.Begin(x)
	rec.End(x)
	select {
	case in := <-r.got:
		span := in.ResourceSpans[0].ScopeSpans[0].Spans[0]
		if string(span.SpanId) != string(x.Trace.SpanID[:]) || string(span.ParentSpanId) != string(x.Trace.ParentID[:]) || span.Status.GetCode() != 2 {
			t.Errorf("span %v", span)
		}
		if a := in.ResourceSpans[0].Resource.Attributes[0]; a.Value.GetStringValue() != "shop" && a.Value.GetStringValue() != "pod-1" {
			t.Errorf("resource %v", a)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no span arrived")
	}
}
