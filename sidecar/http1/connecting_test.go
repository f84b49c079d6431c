package http1_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// slowly takes its time to secure a connection.
type slowly time.Duration

func (s slowly) Handshake(ctx context.Context, raw net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	select {
	case <-time.After(time.Duration(s)):
		return raw, nil, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// TestConnecting: a try's own timeout begins with its connection, as in Envoy. Until then there are the cluster's time to connect, whose end may be
// retried as a failure to connect and counts against the host, and the request's timeout.
func TestConnecting(t *testing.T) {
	for name, c := range map[string]struct {
		takes, try, connect, timeout time.Duration
		on                           route.RetryOn
		status, flags, details       string
		tries                        int
		ejected                      bool
	}{
		"longer than a try":                {300 * time.Millisecond, 150 * time.Millisecond, 10 * time.Second, 10 * time.Second, route.On5xx, "200", "-", "via_upstream", 1, false},
		"longer than it may":               {10 * time.Second, 50 * time.Millisecond, 150 * time.Millisecond, 10 * time.Second, route.OnConnectFailure, "503", "UF,URX", "upstream_reset_before_response_started{connection_timeout}", 2, true},
		"longer than the request may take": {10 * time.Second, 50 * time.Millisecond, 5 * time.Second, 150 * time.Millisecond, route.On5xx, "504", "UT", "response_timeout", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := script(t, func(c net.Conn, r *bufio.Reader) {
				for readHead(r) != "" {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
				}
			})
			rs := to("c")
			rs[0].Timeout, rs[0].Retry = c.timeout, &route.Retry{On: c.on, Attempts: 1, PerTry: c.try, Base: time.Millisecond}
			p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) {
				u := p.cfg.Clusters["c"]
				u.ConnectTimeout, u.Sockets = c.connect, []upstream.Socket{{TLS: slowly(c.takes)}}
				u.Outlier = &outlier.Config{ConsecutiveLocal: 2, Consecutive5xx: 2, Interval: time.Hour, BaseEjection: time.Hour, MaxEjectionPercent: 100}
			})
			nc, r := p.dial()
			_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 "+c.status) {
				t.Errorf("got\n%s", got)
			}
			if got := p.book.last(t, 1); got.flags != c.flags || got.details != c.details || got.attempts != c.tries {
				t.Errorf("got %+v", got)
			}
			if got := p.reg.Current().Get("c").Hosts()[0].Ejected(); got != c.ejected {
				t.Errorf("ejected: %t", got)
			}
		})
	}
}

// TestLocalFailuresApart: where local failures count apart, those that follow a connection are no series, as in Envoy.
func TestLocalFailuresApart(t *testing.T) {
	resets := func(t *testing.T) string {
		return script(t, func(_ net.Conn, r *bufio.Reader) { readHead(r) })
	}
	silent := func(t *testing.T) string {
		return script(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	}
	refuses := func(*testing.T) string { return "127.0.0.1:1" }
	for name, c := range map[string]struct {
		server  func(*testing.T) string
		most    uint32
		ejected bool
	}{
		"resets": {resets, 2, false}, "a reset": {resets, 1, true}, "timeouts": {silent, 2, false}, "a timeout": {silent, 1, true}, "no connection": {refuses, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rs := to("c")
			rs[0].Timeout = 100 * time.Millisecond
			p := proxy(t, rs, map[string][]string{"c": {c.server(t)}}, func(p *mesh) {
				p.cfg.Clusters["c"].Outlier = &outlier.Config{SplitLocal: true, ConsecutiveLocal: c.most, Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: 100}
			})
			for range 3 {
				p.raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
			if got := p.reg.Current().Get("c").Hosts()[0].Ejected(); got != c.ejected {
				t.Errorf("ejected: %t", got)
			}
		})
	}
}

// TestConnectingOutlivesItsRequest: where connecting takes longer than a request may, the connection is there for a later one.
func TestConnectingOutlivesItsRequest(t *testing.T) {
	var made atomic.Int32
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		made.Add(1)
		for readHead(r) != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		}
	})
	rs := to("c")
	rs[0].Timeout = 100 * time.Millisecond
	p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) {
		u := p.cfg.Clusters["c"]
		u.ConnectTimeout, u.Sockets = 10*time.Second, []upstream.Socket{{TLS: slowly(250 * time.Millisecond)}}
	})
	first, got := p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), ""
	for n := 0; n < 50 && !strings.HasPrefix(got, "HTTP/1.1 200 "); n++ {
		got = p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}
	if !strings.HasPrefix(first, "HTTP/1.1 504 ") || !strings.HasPrefix(got, "HTTP/1.1 200 ") || made.Load() != 1 {
		t.Errorf("%d connections, got\n%s\nand then\n%s", made.Load(), first, got)
	}
}

// TestTimeoutWithinTheBackoff: the request's timeout ends the wait for the next try.
func TestTimeoutWithinTheBackoff(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		for head := readHead(r); head != ""; head = readHead(r) {
			if strings.HasPrefix(head, "POST") {
				_, _ = io.CopyN(io.Discard, r, 6+5)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")
		}
	})
	rs := to("c")
	rs[0].Timeout, rs[0].Retry = 100*time.Millisecond, &route.Retry{On: route.On5xx, Attempts: 3, Base: 24 * time.Hour, Max: 24 * time.Hour}
	p := proxy(t, rs, map[string][]string{"c": {b}})
	for i, send := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"} {
		nc, r := p.dial()
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(nc, send)
		if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
			t.Errorf("got\n%s", got)
		}
		if got := p.book.last(t, i+1); got.flags != "UT" || got.details != "response_timeout" || got.attempts != 1 {
			t.Errorf("got %+v", got)
		}
	}
}
