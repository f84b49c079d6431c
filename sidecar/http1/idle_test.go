package http1_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestStreamIdle holds what becomes of requests on which nothing moves for the idle timeout: an answer while there can be one, which says who was waited
// for, else a cut.
func TestStreamIdle(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
	for name, c := range map[string]struct {
		send, answer string
		want         []string
		flags        string
	}{
		"inside the head":                  {"GET / HTTP/1.1\r\nHos", "", []string{"HTTP/1.1 408 ", "connection: close", "stream timeout"}, "SI"},
		"inside the body":                  {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "", []string{"HTTP/1.1 408 ", "connection: close", "stream timeout"}, "SI"},
		"inside a chunked body":            {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "", []string{"HTTP/1.1 408 ", "stream timeout"}, "SI"},
		"after the request":                {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", []string{"HTTP/1.1 504 ", "stream timeout"}, "SI"},
		"after a body":                     {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000), "", []string{"HTTP/1.1 504 ", "stream timeout"}, "SI"},
		"inside the answer":                {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer, []string{"HTTP/1.1 200 ", "half"}, "SI"},
		"inside the answer and the body":   {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", answer, []string{"HTTP/1.1 200 ", "half"}, "SI"},
		"inside a tunnel, from both sides": {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nab", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\nhalf", []string{"HTTP/1.1 101 ", "half"}, "SI"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				_, _ = io.WriteString(nc, c.answer)
				_, _ = io.Copy(io.Discard, r)
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.http.StreamIdle = 200 * time.Millisecond })
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			if r := p.book.last(t, 1); r.flags != c.flags || r.details != "stream_idle_timeout" {
				t.Errorf("got %+v", r)
			}
			_ = nc.SetReadDeadline(time.Now().Add(time.Second)) // an answer to a whole request leaves the connection open
			got, _ := io.ReadAll(nc)
			for _, w := range c.want {
				if !strings.Contains(string(got), w) {
					t.Errorf("want %q in:\n%s", w, got)
				}
			}
		})
	}
}
