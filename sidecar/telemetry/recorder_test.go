package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/format"
)

const clientID = "spiffe://cluster.local/ns/shop/sa/storefront"

var (
	inboundVia = &exchange.Via{Direction: exchange.Inbound}
	cluster    = &exchange.ClusterInfo{Name: "inbound|8080||", Service: exchange.Service{Host: "catalog.shop.svc.cluster.local", Name: "catalog", Namespace: "shop"}}
	storefront = &exchange.Workload{Name: "storefront-v1", Namespace: "shop", App: "storefront"}
)

// peers knows one workload at one address under one identity.
type peers struct{}

func (peers) Workload(addr netip.Addr, identity string) *exchange.Workload {
	if addr == netip.AddrFrom4([4]byte{10, 0, 0, 1}) && identity == clientID {
		return storefront
	}
	return nil
}

func inbound(security *exchange.Security) *exchange.Exchange {
	start := time.Unix(0, 0)
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{Via: inboundVia, Source: netip.MustParseAddrPort("10.0.0.1:4000"), Destination: netip.MustParseAddrPort("10.0.0.2:8080"), Security: security})
	x.Protocol, x.Start, x.End, x.Response.Status, x.Upstream.Cluster = exchange.HTTP1, start, start.Add(3*time.Millisecond), 200, cluster
	x.Request.Method, x.Request.Path, x.Request.Authority = exchange.View("GET"), exchange.View("/"), exchange.View("catalog")
	return x
}

func mutual(id string) *exchange.Security {
	return &exchange.Security{Mutual: true, Identity: exchange.Identity{URI: id, Namespace: "shop"}}
}

func only(t *testing.T, r *Recorder) (Labels, *Series) {
	t.Helper()
	var l Labels
	var s *Series
	n := 0
	r.Each(func(gotL Labels, gotS *Series) { l, s, n = gotL, gotS, n+1 })
	if n != 1 {
		t.Fatalf("%d series, want 1", n)
	}
	return l, s
}

func TestSourceIsWhoTheCertificateProves(t *testing.T) {
	for name, c := range map[string]struct {
		security                    *exchange.Security
		workload, principal, policy string
	}{
		"a verified identity at the address that facts give it": {mutual(clientID), "storefront-v1", clientID, "mutual_tls"},
		"another identity at that address":                      {mutual("spiffe://cluster.local/ns/shop/sa/other"), unknown, "spiffe://cluster.local/ns/shop/sa/other", "mutual_tls"},
		"plaintext":                                             {nil, unknown, unknown, "none"},
		"TLS without client certificate":                        {&exchange.Security{}, unknown, unknown, "none"},
	} {
		r := New(Options{Peers: peers{}})
		x := inbound(c.security)
		x.Request.Add("x-envoy-peer-metadata", "forged")
		r.End(x)
		l, _ := only(t, r)
		if l[sourceWorkload] != c.workload || l[sourcePrincipal] != c.principal || l[connectionSecurityPolicy] != c.policy {
			t.Errorf("%s: workload %q principal %q policy %q", name, l[sourceWorkload], l[sourcePrincipal], l[connectionSecurityPolicy])
		}
	}
}

func TestCountsAndBuckets(t *testing.T) {
	r := New(Options{})
	x := inbound(nil)
	x.Sent = 700
	r.End(x)
	r.End(x)
	l, s := only(t, r)
	if l[reporter] != "destination" || l[destinationService] != "catalog.shop.svc.cluster.local" || l[responseCode] != "200" || l[requestProtocol] != "http" || l[responseFlags] != "-" {
		t.Errorf("labels: %v", l)
	}
	count, sum, buckets := s.ResponseBytes.Read()
	if s.Requests.Load() != 2 || count != 2 || sum != 1400 || buckets[500] != 0 || buckets[1000] != 2 || buckets[3600000] != 2 {
		t.Errorf("requests %d count %d sum %v buckets %v", s.Requests.Load(), count, sum, buckets)
	}
}

func TestEqualLabelsShareASeriesWhateverThePointers(t *testing.T) {
	r := New(Options{})
	for range 3 {
		x, c := inbound(nil), *cluster
		x.Upstream.Cluster = &c
		r.End(x)
	}
	if _, s := only(t, r); s.Requests.Load() != 3 {
		t.Errorf("%d requests, want 3", s.Requests.Load())
	}
}

func TestSeriesAreCapped(t *testing.T) {
	r := New(Options{MaxSeries: 10})
	for i := range 100 {
		x := inbound(nil)
		x.Response.Status = 200 + i
		r.End(x)
	}
	n, total := 0, uint64(0)
	r.Each(func(_ Labels, s *Series) { n, total = n+1, total+s.Requests.Load() })
	if n != 11 || total != 100 || r.Overflow() != 90 {
		t.Errorf("%d series, %d requests, %d overflowed; want 11, 100, 90", n, total, r.Overflow())
	}
}

func TestConnections(t *testing.T) {
	var out bytes.Buffer
	logs := NewAccessLogs(&out)
	r := New(Options{Logs: logs})
	via := &exchange.Via{Direction: exchange.Outbound, AccessLog: []*exchange.AccessLog{{Text: "%PROTOCOL% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER_RAW% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"}}}
	c := &exchange.Connection{Via: via, Received: 5, Sent: 7, Attempts: 2, Upstream: exchange.Upstream{Cluster: &exchange.ClusterInfo{Name: "PassthroughCluster"}}}
	r.Opened(c)
	r.Progress(c, 1, 2)
	r.Closed(c, 4, 5)
	l, s := only(t, r)
	if s.Opened.Load() != 1 || s.Closed.Load() != 1 || s.Received.Load() != 5 || s.Sent.Load() != 7 || l[destinationService] != "PassthroughCluster" || !s.Holds(Opened) || s.Holds(Requests) {
		t.Errorf("opened %d closed %d received %d sent %d labels %v", s.Opened.Load(), s.Closed.Load(), s.Received.Load(), s.Sent.Load(), l)
	}
	logs.flush(nil)
	if got := out.String(); got != "- 5 7 PassthroughCluster 2\n" {
		t.Errorf("logged %q", got)
	}
}

func TestDefaultAccessLog(t *testing.T) {
	var out bytes.Buffer
	logs := NewAccessLogs(&out)
	x := inbound(nil)
	x.Conn.Via = &exchange.Via{AccessLog: []*exchange.AccessLog{{}}}
	x.Request.Add("user-agent", "a\x01b\x1b[31m")
	x.RouteName = "default"
	logs.log(x)
	logs.flush(nil)
	want := `[1970-01-01T00:00:00.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 0 3 - "-" "a\x01b\x1b[31m" "-" "catalog" "-" inbound|8080|| - 10.0.0.2:8080 10.0.0.1:4000 - default` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

func TestJSONAccessLog(t *testing.T) {
	var out bytes.Buffer
	logs := NewAccessLogs(&out)
	x := inbound(nil)
	x.Conn.Via = &exchange.Via{AccessLog: []*exchange.AccessLog{{JSON: [][2]string{{"code", "%RESPONSE_CODE%"}, {"ua", "%REQ(USER-AGENT)%"}, {"none", "%RESP(X)%"}, {"mixed", "a%REQ(X)%b %RESPONSE_CODE%"}, {"two", "%REQ(X)%%REQ(X)%"}, {"status", "%RESP(:STATUS)%"}, {"empty", ""}}}}}
	x.Request.Add("user-agent", "\"\\\x01é\xff")
	logs.log(x)
	logs.flush(nil)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if got["code"] != 200.0 || got["ua"] != "\"\\\x01é�" || got["none"] != nil || got["mixed"] != "a-b 200" || got["two"] != "--" || got["status"] != "200" || got["empty"] != "" {
		t.Errorf("got %v", got)
	}
}

func TestAccessLogIsWrittenByRun(t *testing.T) {
	var out bytes.Buffer
	logs := NewAccessLogs(&out)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- logs.Run(ctx) }()
	x := inbound(nil)
	x.Conn.Via = &exchange.Via{AccessLog: []*exchange.AccessLog{{Text: "x"}}}
	logs.log(x)
	cancel()
	if err := <-done; err != nil || out.String() != "x\n" {
		t.Errorf("error %v, wrote %q", err, out.String())
	}
}

// TestSpanName: the route's name for what is done, else the service's, else the virtual host's.
func TestSpanName(t *testing.T) {
	x := inbound(nil)
	x.VirtualHost, x.Operation = "v", "catalog:80/items*"
	if got := spanName(x); got != "catalog:80/items*" {
		t.Errorf("decorated: got %q", got)
	}
	if x.Operation = ""; spanName(x) != cluster.Service.Host+"/*" {
		t.Errorf("of a service: got %q", spanName(x))
	}
	if x.Upstream.Cluster = nil; spanName(x) != "v/*" {
		t.Errorf("of a virtual host: got %q", spanName(x))
	}
}

// TestDecorator: a client's proxy tells the server's what is done, which calls it so and tells the application nothing. Nobody tells what has no name.
func TestDecorator(t *testing.T) {
	const name = "x-envoy-decorator-operation"
	for _, c := range []struct {
		direction      exchange.Direction
		route, said    string
		sent, called   string
		renamed, given bool
	}{
		{exchange.Outbound, "a:80/*", "", "a:80/*", "a:80/*", false, false},
		{exchange.Outbound, "a:80/*", "application's", "a:80/*", "a:80/*", false, true},
		{exchange.Outbound, "", "application's", "application's", "", false, true},
		{exchange.Inbound, "a:80/*", "a:80/items", "", "a:80/items", true, true},
		{exchange.Inbound, "a:80/*", "", "", "a:80/*", false, true},
		{exchange.Inbound, "a:80/*", "", "", "a:80/*", false, false},
	} {
		x := inbound(nil)
		x.Operation = c.route
		x.Conn.Via = &exchange.Via{Direction: c.direction, Tracing: &exchange.Tracing{}}
		if c.given {
			x.Request.Add(name, c.said)
		}
		NewSpans().begin(x)
		if got := string(x.Request.Get(name)); got != c.sent || x.Operation != c.called || x.Trace.Renamed != c.renamed {
			t.Errorf("%+v: told %q, called %q, %v", c, got, x.Operation, x.Trace.Renamed)
		}
	}
}

func TestTraceIsContinued(t *testing.T) {
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for name, c := range map[string]struct {
		headers  [][2]string
		sampling uint32
		edge     bool
		trace    string
		sampled  bool
	}{
		"W3C":            {[][2]string{{"traceparent", "00-" + trace + "-" + parent + "-01"}}, 0, false, trace, true},
		"W3C unsampled":  {[][2]string{{"traceparent", "00-" + trace + "-" + parent + "-00"}}, 10_000, false, trace, false},
		"B3":             {[][2]string{{"x-b3-traceid", trace}, {"x-b3-spanid", parent}, {"x-b3-sampled", "1"}}, 0, false, trace, true},
		"W3C at an edge": {[][2]string{{"traceparent", "00-" + trace + "-" + parent + "-01"}}, 0, true, trace, false},
		"B3 at an edge":  {[][2]string{{"x-b3-traceid", trace}, {"x-b3-spanid", parent}, {"x-b3-sampled", "1"}}, 0, true, trace, false},
		"both sample":    {[][2]string{{"traceparent", "00-" + trace + "-" + parent + "-01"}}, 10_000, true, trace, true},
		"edge alone":     {[][2]string{{"traceparent", "00-" + trace + "-" + parent + "-00"}}, 10_000, true, trace, false},
		"none, all kept": {nil, 10_000, false, "", true},
		"malformed":      {[][2]string{{"traceparent", "00-" + strings.Repeat("0", 32) + "-" + parent + "-01"}}, 0, false, "", false},
	} {
		spans := NewSpans()
		r := New(Options{Spans: spans})
		x := inbound(nil)
		x.Conn.Via = &exchange.Via{Direction: exchange.Inbound, Tracing: &exchange.Tracing{Sampling: c.sampling, Edge: c.edge, Target: "otel:4317", Service: "catalog"}}
		for _, h := range c.headers {
			x.Request.Add(h[0], h[1])
		}
		r.Begin(x)
		if got := fmt.Sprintf("%x", x.Trace.TraceID); c.trace != "" && (got != c.trace || fmt.Sprintf("%x", x.Trace.ParentID) != parent) {
			t.Errorf("%s: trace %s parent %x", name, got, x.Trace.ParentID)
		}
		want := fmt.Sprintf("00-%x-%x-0", x.Trace.TraceID, x.Trace.SpanID)
		if got := x.Request.Get("traceparent").Copy(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: sent on %q, want %q", name, got, want)
		}
		r.End(x)
		if x.Trace.Sampled != c.sampled || len(spans.C) != map[bool]int{true: 1}[c.sampled] {
			t.Errorf("%s: sampled %v, %d spans", name, x.Trace.Sampled, len(spans.C))
		}
	}
}

// TestSampledIDs: Envoys are told of a sampled request by its id, where that is a UUID of which nothing has been decided.
func TestSampledIDs(t *testing.T) {
	const id, sampled = "01234567-89ab-4cde-8123-0123456789ab", "01234567-89ab-9cde-8123-0123456789ab"
	for _, c := range []struct {
		id       string
		sampling uint32
		silent   bool
		want     string
	}{
		{id, 10_000, false, sampled}, {id, 0, false, id}, {id, 10_000, true, id}, {sampled, 0, false, sampled}, {"mine", 10_000, false, "mine"},
		{"01234567-89ab-acde-8123-0123456789ab", 10_000, false, "01234567-89ab-acde-8123-0123456789ab"}, {"", 10_000, false, ""},
		{strings.Repeat("4", 36), 10_000, false, strings.Repeat("4", 36)},
	} {
		x := inbound(nil)
		x.Conn.Via = &exchange.Via{Tracing: &exchange.Tracing{Sampling: c.sampling, Silent: c.silent}}
		came := exchange.View(c.id)
		if c.id != "" {
			x.Request.AddView(exchange.View("x-request-id"), came)
		}
		NewSpans().begin(x)
		if got := string(x.Request.Get("x-request-id")); got != c.want || string(came) != c.id {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestSilentTraces: an upstream that is not to know of traces is told of none, not even by what the client says; spans continue the client's trace, and
// say what formats make of the request.
func TestSilentTraces(t *testing.T) {
	x, spans := inbound(nil), NewSpans()
	text, err := format.New("%REQ(:METHOD)% %RESPONSE_CODE%", "")
	if err != nil {
		t.Fatal(err)
	}
	x.Conn.Via = &exchange.Via{Tracing: &exchange.Tracing{Silent: true, Tags: []exchange.SpanTag{{Name: "what", Text: text}}}}
	for _, f := range [][2]string{{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, {"tracestate", "a=b"}, {"b3", "1"}, {"x-b3-traceid", "1"}, {"x-kept", "1"}} {
		x.Request.Add(f[0], f[1])
	}
	spans.begin(x)
	if len(x.Request.Fields) != 1 || !x.Request.Has("x-kept") || !x.Trace.Sampled || x.Trace.ParentID == [8]byte{} {
		t.Errorf("%v, %+v", x.Request.Fields, x.Trace)
	}
	spans.end(x, &Self{})
	span := <-spans.C
	if !slices.Contains(span.Attributes, [2]string{"what", "GET 200"}) {
		t.Errorf("%v", span.Attributes)
	}
}
