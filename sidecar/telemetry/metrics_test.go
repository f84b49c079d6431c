package telemetry

import (
	"strings"
	"testing"

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

func TestReadMetrics(t *testing.T) {
	if m, err := ReadMetrics(nil); m != nil || err != nil {
		t.Errorf("nothing said: %v, %v", m, err)
	}
	for name, value := range map[string]string{"NO_METRIC": "off", "REQUEST_COUNT": "no_label"} {
		if _, err := ReadMetrics(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), "no_label") && !strings.Contains(err.Error(), "NO_METRIC") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
