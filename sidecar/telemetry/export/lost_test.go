package export

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// TestLostSpansAreCounted: spans that no receiver takes are lost, and the number of them is known.
func TestLostSpansAreCounted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	spans := telemetry.NewSpans()
	rec := telemetry.New(telemetry.Options{Spans: spans})
	e := NewSpanExporter(spans, "pod-1", slog.New(slog.DiscardHandler))
	for range 3 {
		x := finished(&exchange.Tracing{Sampling: 10_000, Target: nobody})
		rec.Begin(x)
		rec.End(x)
		s := <-spans.C
		e.pending[s.Target] = append(e.pending[s.Target], e.convert(s))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	e.flush(ctx)
	if n := spans.Dropped(); n != 3 {
		t.Errorf("%d of 3 counted", n)
	}
}
