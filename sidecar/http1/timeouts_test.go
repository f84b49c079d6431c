package http1_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

func TestTimeouts(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		time.Sleep(time.Second)
	})
	rs := []route.RouteConfig{
		{Match: route.Match{Path: "/try"}, Clusters: []route.Weighted{{Cluster: "c"}}, Timeout: time.Second,
			Retry: &route.Retry{On: route.On5xx, Attempts: 1, PerTry: 50 * time.Millisecond, Base: time.Millisecond}},
		{Clusters: []route.Weighted{{Cluster: "c"}}, Timeout: 100 * time.Millisecond},
	}
	p := proxy(t, rs, map[string][]string{"c": {b}})
	if got := p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "HTTP/1.1 504") {
		t.Errorf("got\n%s", got)
	}
	if r := p.book.last(t, 1); r.flags != "UT" || r.details != "response_timeout" {
		t.Errorf("got %+v", r)
	}
	p.raw("GET /try HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if r := p.book.last(t, 2); r.flags != "URX,UT" || r.attempts != 2 || r.details != "upstream_per_try_timeout" {
		t.Errorf("got %+v", r)
	}
	p.raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n")
	if r := p.book.last(t, 3); r.flags != "UT" || r.details != "response_timeout" {
		t.Errorf("a streamed body: got %+v", r)
	}
	p.raw("POST /try HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n")
	if r := p.book.last(t, 4); r.flags != "URX,UT" || r.attempts != 2 || r.details != "upstream_per_try_timeout" {
		t.Errorf("a streamed body, tried again: got %+v", r)
	}
}

// TestAnswersAfterTheDeadline holds that a process that was held up, and finds the deadline and the answer at once, says that time was over, whichever of
// them it is told first.
func TestAnswersAfterTheDeadline(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		for head := readHead(r); head != ""; head = readHead(r) {
			if strings.HasPrefix(head, "POST") {
				_, _ = io.CopyN(io.Discard, r, 6+5)
			}
			time.Sleep(300 * time.Millisecond)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Answer: late\r\nContent-Length: 2\r\n\r\nhi")
		}
	})
	perTry := &route.Retry{On: route.On5xx, Attempts: 1, PerTry: 50 * time.Millisecond, Base: time.Millisecond}
	rs := []route.RouteConfig{
		{Match: route.Match{Path: "/try"}, Clusters: []route.Weighted{{Cluster: "c"}}, Timeout: 10 * time.Second, Retry: perTry},
		{Clusters: []route.Weighted{{Cluster: "c"}}, Timeout: 100 * time.Millisecond},
	}
	p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) { p.deaf.Store(true) })
	const body = "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
	for i, c := range []struct {
		send, flags, details string
		tries                int
	}{
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "UT", "response_timeout", 1},
		{"GET /try HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "URX,UT", "upstream_per_try_timeout", 2},
		{"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + body, "UT", "response_timeout", 1},
		{"POST /try HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + body, "URX,UT", "upstream_per_try_timeout", 2},
	} {
		nc, r := p.dial()
		_, _ = io.WriteString(nc, c.send)
		if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 504 ") || strings.Contains(got, "x-answer") {
			t.Errorf("%q: got\n%s", c.send, got)
		}
		if got := p.book.last(t, i+1); got.flags != c.flags || got.details != c.details || got.attempts != c.tries {
			t.Errorf("%q: got %+v", c.send, got)
		}
	}
}
