package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestRefusalsAreLoggedAndCounted: a connection that no chain serves has a line and a reason.
func TestRefusalsAreLoggedAndCounted(t *testing.T) {
	var out bytes.Buffer
	logs := NewAccessLogs(&out)
	r := New(Options{Logs: logs})
	text := "%RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS% %DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n"
	c := &exchange.Connection{Via: &exchange.Via{Direction: exchange.Inbound, AccessLog: []*exchange.AccessLog{{Text: text}}}}
	c.Outcome, c.Failure = exchange.HandshakeFailed, "bad certificate\n"
	r.Refused(c)
	r.Refused(c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := logs.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if want := "- tls_handshake_failed bad certificate\\x0a\n"; out.String() != want+want {
		t.Errorf("got %q", out.String())
	}
	got := map[string]uint64{}
	r.EachRefusal(func(reason string, n uint64) { got[reason] = n })
	if len(got) != 1 || got["tls_handshake_failed"] != 2 {
		t.Errorf("got %v", got)
	}
	r.Each(func(l Labels, _ *Series) { t.Errorf("a series of traffic: %v", l) })
}

// TestOpenedAndClosedMeet: what befell a connection while it was open does not take its end to another series than its beginning.
func TestOpenedAndClosedMeet(t *testing.T) {
	r := New(Options{})
	c := &exchange.Connection{Via: &exchange.Via{Direction: exchange.Outbound}}
	r.Opened(c)
	c.Flags |= exchange.FlagIdleTimeout
	r.Closed(c, 1, 2)
	if l, s := only(t, r); s.Opened.Load() != 1 || s.Closed.Load() != 1 || l[responseFlags] != "-" {
		t.Errorf("%d opened, %d closed, flags %s", s.Opened.Load(), s.Closed.Load(), l[responseFlags])
	}
	refused := &exchange.Connection{Via: c.Via, Flags: exchange.FlagUpstreamFailure}
	r.Opened(refused)
	r.Closed(refused, 0, 0)
	r.Each(func(l Labels, s *Series) {
		if s.Opened.Load() != 1 || s.Closed.Load() != 1 {
			t.Errorf("flags %s: %d opened, %d closed", l[responseFlags], s.Opened.Load(), s.Closed.Load())
		}
	})
}

// TestMadeUpStatusesAreOneSeries: a server cannot make series without end.
func TestMadeUpStatusesAreOneSeries(t *testing.T) {
	r := New(Options{})
	for code := range 100 {
		x := inbound(nil)
		x.GRPC, x.GRPCStatus = true, 17+code
		r.End(x)
	}
	if l, s := only(t, r); l[grpcResponseStatus] != "2" || s.Requests.Load() != 100 {
		t.Errorf("status %s: %d", l[grpcResponseStatus], s.Requests.Load())
	}
}

// TestDestinationsSpread: many destinations behind one cluster do not share a shard.
func TestDestinationsSpread(t *testing.T) {
	s := newStore(1000)
	used := map[uint64]bool{}
	for i := range 500 {
		used[s.hash(&key{cluster: cluster, destination: &exchange.Workload{Name: fmt.Sprintf("pod-%d", i)}})%shards] = true
	}
	if len(used) < shards/2 {
		t.Errorf("%d of %d shards used", len(used), shards)
	}
}

// TestSingleB3 continues traces that come in one header.
func TestSingleB3(t *testing.T) {
	const trace, span = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
	for value, want := range map[string]string{
		trace + "-" + span + "-1-05e3ac9a4f6e3b90": trace + " " + span + " true",
		trace + "-" + span + "-d":                  trace + " " + span + " true",
		trace + "-" + span + "-0":                  trace + " " + span + " false",
		trace + "-" + span:                         trace + " " + span + " false",
		trace[16:] + "-" + span + "-1":             strings.Repeat("0", 16) + trace[16:] + " " + span + " true",
		trace + "-" + span + "x":                   "",
		trace + "-" + span[1:]:                     "",
		"1":                                        "",
		"zz" + trace[2:] + "-" + span:              "",
		strings.Repeat("0", 32) + "-" + span:       "",
	} {
		x, tr := inbound(nil), exchange.Trace{}
		x.Request.Add("b3", value)
		got := ""
		if readSingleB3(x, &tr) {
			got = fmt.Sprintf("%x %x %v", tr.TraceID, tr.ParentID, tr.Sampled)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}

// TestControlsStayOut: nothing in a header drives the terminal that shows the log, and text stays as it is.
func TestControlsStayOut(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "Grüße, 世界": "Grüße, 世界", "\x1b[2J": `\x1b[2J`, "a\u009b2J": `a\xc2\x9b2J`, "\x9b": `\x9b`, "\u0085": `\xc2\x85`, "\x7f": `\x7f`, "\xff\xfe": `\xff\xfe`,
	} {
		if got := string(escapeControls([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := string(appendQuoted(nil, []byte("a\u009b"))); got != `"a\u009b"` {
		t.Errorf("JSON: got %s", got)
	}
}
