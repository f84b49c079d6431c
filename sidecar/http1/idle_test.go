package http1_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// TestStreamIdle holds what becomes of requests on which nothing moves for the idle timeout: an answer while there can be one, which says who was waited
// for, else a cut.
func TestStreamIdle(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
	for name, c := range map[string]struct {
		send, answer string
		want         []string
		try          bool // has its own, shorter limit, for when the upstream has the whole request
	}{
		"inside the head":                            {"GET / HTTP/1.1\r\nHos", "", []string{"HTTP/1.1 408 ", "connection: close", "stream timeout"}, false},
		"inside the body":                            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "", []string{"HTTP/1.1 408 ", "connection: close", "stream timeout"}, false},
		"inside a chunked body":                      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "", []string{"HTTP/1.1 408 ", "stream timeout"}, false},
		"after the request":                          {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", []string{"HTTP/1.1 504 ", "stream timeout"}, false},
		"after a body":                               {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000), "", []string{"HTTP/1.1 504 ", "stream timeout"}, false},
		"inside the answer":                          {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer, []string{"HTTP/1.1 200 ", "half"}, false},
		"inside the answer and the body":             {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", answer, []string{"HTTP/1.1 200 ", "half"}, false},
		"inside the body, with a limit of the try's": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "", []string{"HTTP/1.1 408 ", "stream timeout"}, true},
		"inside the answer and the body, with a limit of the try's": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", answer, []string{"HTTP/1.1 200 ", "half"}, true},
		"inside a tunnel, with a limit of the try's":                {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nab", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\nhalf", []string{"HTTP/1.1 101 ", "half"}, true},
		"inside a tunnel, from both sides":                          {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nab", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\nhalf", []string{"HTTP/1.1 101 ", "half"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				_, _ = io.WriteString(nc, c.answer)
				_, _ = io.Copy(io.Discard, r)
			})
			rs := to("c")
			if c.try {
				rs[0].Retry = &route.Retry{PerTryIdle: 50 * time.Millisecond}
			}
			p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) { p.http.StreamIdle = 200 * time.Millisecond })
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			if r := p.book.last(t, 1); r.flags != "SI" || r.details != "stream_idle_timeout" {
				t.Errorf("got %+v", r)
			}
			says(t, nc, c.want)
		})
	}
}

// TestStreamIdleOfRoutes: a route's idle timeout takes the place of the listener's, and none is one, too: a long poll, a tunnel, or a body may pause as long as
// they like.
func TestStreamIdleOfRoutes(t *testing.T) {
	const pause, answer = 500 * time.Millisecond, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	for name, c := range map[string]struct {
		send, rest string // with a pause between, as in the answer
		head, body string
	}{
		"a long poll":        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", "", answer + "done"},
		"a slow answer":      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", answer, "done"},
		"a body that pauses": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab", "cd", "", answer + "done"},
		"a tunnel":           {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", "done"},
	} {
		for whose, idle := range map[string]*time.Duration{"the listener's": nil, "none": new(time.Duration(0)), "a longer one": new(time.Minute)} {
			t.Run(name+", "+whose, func(t *testing.T) {
				t.Parallel()
				b := script(t, func(nc net.Conn, r *bufio.Reader) {
					readHead(r)
					_, _ = io.WriteString(nc, c.head)
					time.Sleep(2 * pause)
					_, _ = io.WriteString(nc, c.body)
					_, _ = io.Copy(io.Discard, r)
				})
				rs := to("c")
				rs[0].Idle = idle
				p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) { p.http.StreamIdle = pause / 4 })
				nc, r := p.dial()
				_, _ = io.WriteString(nc, c.send)
				if time.Sleep(pause); c.rest != "" {
					_, _ = io.WriteString(nc, c.rest)
				}
				head, done := readHead(r), make([]byte, 4)
				if _, err := io.ReadFull(r, done); (err == nil && string(done) == "done") != (idle != nil) {
					t.Errorf("got\n%s%q: %v", head, done, err)
				}
			})
		}
	}
}

// says wants all of these words in what comes within a second: an answer to a whole request leaves the connection open.
func says(t *testing.T, nc net.Conn, want []string) {
	t.Helper()
	_ = nc.SetReadDeadline(time.Now().Add(time.Second))
	got, _ := io.ReadAll(nc)
	for _, w := range want {
		if !strings.Contains(string(got), w) {
			t.Errorf("want %q in:\n%s", w, got)
		}
	}
}

// TestTryIdle: a try ends when its upstream is silent for too long after it has the whole request, so that there can be another, and the answer when it stalls;
// an upstream that goes on has all the time that it wants, and so has one that waits for the rest of a request.
func TestTryIdle(t *testing.T) {
	const short, head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
	const brief = 200 * time.Millisecond
	long := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		idle  time.Duration
		send  string
		serve func(nc net.Conn, n int32) // the nth connection
		want  string                     // until the connection ends, or for good
		flags string
		tries int
	}{
		"silence, and then another try": {brief, short, func(nc net.Conn, n int32) {
			if n > 1 {
				_, _ = io.WriteString(nc, head+"123456789")
			}
		}, "123456789", "-", 2},
		"silence after a long body":       {brief, long, func(net.Conn, int32) {}, "HTTP/1.1 504 ", "URX,UT", 2},
		"silence in the answer":           {brief, short, func(nc net.Conn, _ int32) { _, _ = io.WriteString(nc, head+"half") }, "half", "UT", 1},
		"silence in the answer to a body": {brief, long, func(nc net.Conn, _ int32) { _, _ = io.WriteString(nc, head+"half") }, "half", "UT", 1},
		"an answer bit by bit": {2 * time.Second, short, func(nc net.Conn, _ int32) {
			_, _ = io.WriteString(nc, head)
			for _, c := range "123456789" {
				time.Sleep(250 * time.Millisecond)
				_, _ = io.WriteString(nc, string(c))
			}
		}, "123456789", "-", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				_, _ = io.CopyN(io.Discard, r, int64(len(c.send))) // what the proxy adds makes it longer
				c.serve(nc, n.Add(1))
				_, _ = io.Copy(io.Discard, r)
			})
			rs := to("c")
			rs[0].Retry = &route.Retry{On: route.On5xx, Attempts: 1, Base: time.Millisecond, PerTryIdle: c.idle}
			p := proxy(t, rs, map[string][]string{"c": {b}})
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			_ = nc.SetReadDeadline(time.Now().Add(30 * time.Second))
			var got []byte
			for buf := make([]byte, 1000); !strings.Contains(string(got), c.want); {
				n, err := nc.Read(buf)
				if got = append(got, buf[:n]...); err != nil {
					t.Fatalf("want %q in:\n%s", c.want, got)
				}
			}
			if r := p.book.last(t, 1); r.flags != c.flags || r.attempts != c.tries {
				t.Errorf("got %+v, want flags %s after %d tries", r, c.flags, c.tries)
			}
		})
	}
}

// TestWhoseIdleTimeout: an upstream that is silent for longer than a try may be fails, to outlier detection; the end of an idle stream says nothing of it.
func TestWhoseIdleTimeout(t *testing.T) {
	for name, try := range map[string]time.Duration{"the stream's": 0, "the try's": 50 * time.Millisecond} {
		b := script(t, func(nc net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
		rs := to("c")
		rs[0].Retry = &route.Retry{PerTryIdle: try}
		p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) {
			p.http.StreamIdle = 200 * time.Millisecond
			p.cfg.Clusters["c"].Outlier = &outlier.Config{Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: 100}
		})
		if got := p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.Contains(got, " 504 ") {
			t.Errorf("%s: got %q", name, got)
		}
		if got := p.reg.Current().Get("c").Hosts()[0].Ejected(); got != (try > 0) {
			t.Errorf("%s: ejected %t", name, got)
		}
	}
}

// TestRequestTimeout: a request has to be complete within its time, whatever moves meanwhile; one that is answered before, or complete, has all the
// time that other timeouts leave it.
func TestRequestTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		most    time.Duration
		head    string
		trickle bool // the body, a byte at a time and without an end
		early   bool // the answer comes before the request's end
		want    []string
		details string
	}{
		"a body that takes too long": {300 * time.Millisecond, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", true, false,
			[]string{"HTTP/1.1 408 ", "connection: close"}, "request_overall_timeout"},
		"an answer before the end": {2 * time.Second, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", true, true, []string{"HTTP/1.1 200 ", "late"}, "via_upstream"},
		"a slow answer":            {2 * time.Second, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000), false, false, []string{"HTTP/1.1 200 ", "late"}, "via_upstream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				if c.early {
					_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
				} else if !c.trickle {
					_, _ = io.CopyN(io.Discard, r, 100_000)
				} else {
					_, _ = io.Copy(io.Discard, r)
					return
				}
				time.Sleep(c.most + c.most/2)
				if !c.early {
					_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
				}
				_, _ = io.WriteString(nc, "late")
				_, _ = io.Copy(io.Discard, r)
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.http.RequestTimeout = c.most })
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_, _ = io.WriteString(nc, c.head)
			over := make(chan struct{})
			if c.trickle {
				go func() {
					for {
						select {
						case <-over:
							return
						case <-time.After(20 * time.Millisecond):
						}
						_, _ = io.WriteString(nc, "1\r\nx\r\n")
					}
				}()
			}
			_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
			got, r := "", bufio.NewReader(nc)
			for last := c.want[len(c.want)-1]; !strings.Contains(got, last); {
				one, err := r.ReadByte()
				if err != nil {
					break
				}
				got += string(one)
			}
			close(over)
			_ = nc.Close()
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("want %q in:\n%s", w, got)
				}
			}
			if r := p.book.last(t, 1); r.details != c.details {
				t.Errorf("got %+v", r)
			}
		})
	}
}
