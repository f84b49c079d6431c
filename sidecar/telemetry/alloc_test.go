//go:build !race || norace

package telemetry

import (
	"io"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func TestRecordingAllocatesNothing(t *testing.T) {
	logs := NewAccessLogs(io.Discard)
	r := New(Options{Peers: peers{}, Logs: logs})
	x := inbound(mutual(clientID))
	x.Conn.Via = &exchange.Via{Direction: exchange.Inbound, AccessLog: []*exchange.AccessLog{{Filter: "response.code >= 200 && request.path.contains('/')"}}}
	var spare []byte
	if n := testing.AllocsPerRun(1000, func() { r.Begin(x); r.End(x); spare = logs.flush(spare) }); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}

func TestLeavingOutAllocatesNothing(t *testing.T) {
	r := New(Options{Peers: peers{}})
	metrics, err := ReadMetrics(map[string]string{"REQUEST_SIZE": "off", "REQUEST_COUNT": "source_principal"})
	if err != nil {
		t.Fatal(err)
	}
	x := inbound(mutual(clientID))
	x.Conn.Via = &exchange.Via{Direction: exchange.Inbound, Metrics: metrics}
	if n := testing.AllocsPerRun(1000, func() { r.End(x) }); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := New(Options{Peers: peers{}})
	x := inbound(mutual(clientID))
	for b.Loop() {
		r.Begin(x)
		r.End(x)
	}
}
