package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// counted is a listener of which not everything is counted.
func counted(t *testing.T, said map[string]string) *exchange.Via {
	t.Helper()
	m, err := ReadMetrics(said)
	if err != nil {
		t.Fatal(err)
	}
	return &exchange.Via{Direction: exchange.Inbound, Metrics: m}
}

// TestMetricsAreLeftOut: what a listener does not count has no series, and a label that is left out joins what differed only by it.
func TestMetricsAreLeftOut(t *testing.T) {
	r := New(Options{})
	via := counted(t, map[string]string{"REQUEST_SIZE": "off", "REQUEST_COUNT": "response_code,response_flags"})
	for code := range 3 {
		x := inbound(nil)
		x.Conn.Via, x.Response.Status = via, 200+code
		r.End(x)
	}
	requests, durations := 0, 0
	r.Each(func(l Labels, s *Series) {
		if s.Holds(RequestBytes) || s.Holds(Opened) {
			t.Errorf("counted: %v", l)
		}
		if s.Holds(Requests) {
			requests++
			if s.Requests.Load() != 3 || l[responseCode] != "" || l[responseFlags] != "" || l[reporter] != "destination" || s.Holds(Duration) {
				t.Errorf("%d requests, %v", s.Requests.Load(), l)
			}
		}
		if s.Holds(Duration) {
			durations++
			if count, _, _ := s.Duration.Read(); count != 1 || !s.Holds(ResponseBytes) || l[responseFlags] == "" {
				t.Errorf("%d durations, %v", count, l)
			}
		}
	})
	if requests != 1 || durations != 3 {
		t.Errorf("%d series of requests, %d of durations", requests, durations)
	}
}

// TestConnectionMetricsAreLeftOut: likewise for connections, whose end adds nothing to what is not counted.
func TestConnectionMetricsAreLeftOut(t *testing.T) {
	r := New(Options{})
	c := &exchange.Connection{Via: counted(t, map[string]string{"TCP_OPENED_CONNECTIONS": "off", "TCP_SENT_BYTES": "off"})}
	r.Opened(c)
	r.Closed(c, 5, 7)
	_, s := only(t, r)
	if s.Holds(Opened) || s.Holds(Sent) || s.Opened.Load() != 0 || s.Sent.Load() != 0 || s.Closed.Load() != 1 || s.Received.Load() != 5 {
		t.Errorf("opened %d closed %d sent %d received %d", s.Opened.Load(), s.Closed.Load(), s.Sent.Load(), s.Received.Load())
	}
	nothing := New(Options{})
	c.Via = counted(t, map[string]string{"TCP_OPENED_CONNECTIONS": "off", "TCP_SENT_BYTES": "off", "TCP_CLOSED_CONNECTIONS": "off", "TCP_RECEIVED_BYTES": "off"})
	nothing.Closed(c, 5, 7)
	nothing.Each(func(l Labels, _ *Series) { t.Errorf("a series: %v", l) })
}

// TestListenersShareSeries: one listener leaves a metric out, another does not, and their labels are the same.
func TestListenersShareSeries(t *testing.T) {
	r := New(Options{})
	some, all := inbound(nil), inbound(nil)
	some.Conn.Via = counted(t, map[string]string{"REQUEST_SIZE": "off"})
	all.Received = 9
	r.End(some)
	r.End(all)
	r.End(some)
	_, s := only(t, r)
	if count, sum, _ := s.RequestBytes.Read(); s.Requests.Load() != 3 || count != 1 || sum != 9 || !s.Holds(RequestBytes) {
		t.Errorf("%d requests, %d sizes of %v", s.Requests.Load(), count, sum)
	}
}

// TestLabelsAreSet: a label is what an expression makes of each request, one of the proxy's own or a further one, for the metrics that it is said for.
func TestLabelsAreSet(t *testing.T) {
	r := New(Options{})
	via := counted(t, map[string]string{"REQUEST_COUNT": "response_flags,source_app", "REQUEST_COUNT.request_host": "request.host", "REQUEST_COUNT.source_app": "'mine'",
		"REQUEST_COUNT.user": "has(request.headers['x-user']) ? request.headers['x-user'] : 'nobody'", "REQUEST_COUNT.port": "destination.port"})
	for _, user := range []string{"ann", "ann", "", "b\x00o\xffb" + strings.Repeat("b", 300)} {
		x := inbound(nil)
		x.Conn.Via = via
		if user != "" {
			x.Request.Add("x-user", "")
			x.Request.Fields[len(x.Request.Fields)-1].Value = exchange.View(user)
		}
		r.End(x)
	}
	got, durations := map[string]uint64{}, 0
	r.Each(func(l Labels, s *Series) {
		names, values := l.Own()
		if s.Holds(Duration) {
			if durations++; len(names) > 0 || l[sourceApp] == "mine" {
				t.Errorf("durations by labels of requests: %v", l)
			}
			return
		}
		if strings.Join(names, ",") != "port,request_host,user" || values[0] != "8080" || values[1] != "catalog" || l[sourceApp] != "mine" || l[responseFlags] != "" || len(l.Values()) != len(LabelNames()) {
			t.Errorf("%q %q, %v", names, values, l)
		}
		got[values[2]] = s.Requests.Load()
	})
	if long := "bob" + strings.Repeat("b", 251); durations != 1 || len(got) != 3 || got["ann"] != 2 || got["nobody"] != 1 || got[long] != 1 {
		t.Errorf("%d durations, requests by user: %v", durations, got)
	}
}

// TestLabelsOfConnectionsAreSet: likewise for connections, whose opening and end meet.
func TestLabelsOfConnectionsAreSet(t *testing.T) {
	r := New(Options{})
	said := map[string]string{}
	for _, metric := range []string{"TCP_OPENED_CONNECTIONS", "TCP_CLOSED_CONNECTIONS", "TCP_SENT_BYTES", "TCP_RECEIVED_BYTES"} {
		said[metric+".sni"], said[metric+".reporter"] = "connection.requested_server_name", "'tcp'"
	}
	c := &exchange.Connection{Via: counted(t, said), SNI: "a.example.com"}
	r.Opened(c)
	r.Closed(c, 5, 7)
	l, s := only(t, r)
	if names, values := l.Own(); len(names) != 1 || names[0] != "sni" || values[0] != "a.example.com" || l[reporter] != "tcp" || s.Opened.Load() != 1 || s.Closed.Load() != 1 || s.Sent.Load() != 7 {
		t.Errorf("%v", l)
	}
}

func TestReadMetrics(t *testing.T) {
	if m, err := ReadMetrics(nil); m != nil || err != nil {
		t.Errorf("nothing said: %v, %v", m, err)
	}
	for name, value := range map[string]string{"NO_METRIC": "off", "REQUEST_COUNT": "no_label", "NO_METRIC.a": "'x'", "REQUEST_COUNT.a": "no_label", "REQUEST_SIZE.no_label-": "'x'"} {
		if _, err := ReadMetrics(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), "no_label") && !strings.Contains(err.Error(), "NO_METRIC") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

func TestReadReporting(t *testing.T) {
	for said, want := range map[string]time.Duration{"": 0, "30s": 30 * time.Second, "1ms": -1, "soon": -1} {
		facts := map[string]string{}
		if said != "" {
			facts[wire.ReportingInterval] = said
		}
		if got, err := ReadReporting(facts); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %s, %v", said, got, err)
		}
	}
}
