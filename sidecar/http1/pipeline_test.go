package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

func TestMirror(t *testing.T) {
	seen := make(chan string, 4)
	shadow := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r.Method + " " + r.Host + r.URL.Path + " " + string(body)
	})
	b := backend(t, echo)
	proxies := map[bool]*mesh{}
	for _, suffix := range []bool{false, true} {
		rs := to("c")
		rs[0].Mirrors = []route.Mirror{{Cluster: "shadow", Fraction: 1_000_000, Shadow: suffix}}
		proxies[suffix] = proxy(t, rs, map[string][]string{"c": {b}, "shadow": {shadow}})
	}
	const fixed, chunked = "Content-Length: 3\r\nConnection: close\r\n\r\nabc", "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	for _, c := range []struct {
		body, host, want string
		shadow           bool
	}{{fixed, "a", "a", false}, {chunked, "a", "a", false}, {fixed, "a:80", "a-shadow:80", true}, {fixed, "a", "a-shadow", true}, {fixed, "[::1]", "[::1]-shadow", true}} {
		if got := proxies[c.shadow].raw("POST /m HTTP/1.1\r\nHost: " + c.host + "\r\n" + c.body); !strings.Contains(got, `body="abc"`) {
			t.Errorf("got\n%s", got)
		}
		select {
		case got := <-seen:
			if got != "POST "+c.want+"/m abc" {
				t.Errorf("the mirror got %q", got)
			}
		case <-time.After(time.Second):
			t.Error("the mirror got nothing")
		}
	}
}

// TestMirrorsAreJudged: what becomes of copies feeds outlier detection, as what becomes of requests does.
func TestMirrorsAreJudged(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	b := backend(t, echo)
	for name, c := range map[string]struct {
		answer  string
		silent  bool // for ever, after it
		timeout time.Duration
		failed  bool
	}{
		"no connection": {"none", false, 0, true},
		"an answer":     {ok + "\r\nhi", false, 0, false}, "an error": {"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", false, 0, true},
		"a call that fails": {ok + "Grpc-Status: 14\r\n\r\nhi", false, 0, true}, "a reset": {"", false, 0, true}, "half an answer": {ok + "\r\nh", false, 0, true},
		"no answer": {"", true, 0, false}, "none in time": {"", true, 200 * time.Millisecond, true}, "half of one in time": {ok + "\r\nh", true, 200 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				if _, _ = io.WriteString(nc, c.answer); c.silent {
					_, _ = io.Copy(io.Discard, r)
				}
			})
			if c.answer == "none" {
				m = "127.0.0.1:1"
			}
			rs := to("c")
			rs[0].Timeout, rs[0].Mirrors = c.timeout, []route.Mirror{{Cluster: "m", Fraction: 1_000_000}}
			p := proxy(t, rs, map[string][]string{"c": {b}, "m": {m}}, func(p *mesh) {
				p.cfg.Clusters["m"].Outlier = &outlier.Config{Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: 100}
			})
			p.raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			h, most := p.reg.Current().Get("m").Hosts()[0], 500*time.Millisecond
			if c.failed {
				most = 10 * time.Second
			}
			for until := time.Now().Add(most); !h.Ejected() && time.Now().Before(until); {
				time.Sleep(10 * time.Millisecond)
			}
			if got := h.Ejected(); got != c.failed {
				t.Errorf("ejected: %t", got)
			}
		})
	}
}

// stop is a filter that refuses, or delays.
type stop struct {
	o     exchange.Outcome
	delay time.Duration
}

func (s stop) Request(x *exchange.Exchange) exchange.Outcome {
	x.Delay = s.delay
	return s.o
}

func TestFilters(t *testing.T) {
	b := backend(t, echo)
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	p.http.Filters = []filter.Named{{Kind: filter.Deny, Filter: stop{o: exchange.Denied}}}
	for i, path := range []string{"/", "/nowhere"} {
		got := p.raw("POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
		if !strings.Contains(got, "HTTP/1.1 403") || !strings.HasSuffix(got, "RBAC: access denied") {
			t.Errorf("got\n%s", got)
		}
		if r := p.book.last(t, i+1); r.status != 403 || r.attempts != 0 {
			t.Errorf("got %+v", r)
		}
	}
	p.http.Filters = []filter.Named{{Kind: filter.Fault, Filter: stop{delay: 50 * time.Millisecond}}}
	start := time.Now()
	p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Errorf("no delay: %v", d)
	}
}

// TestSwap: a swap under load fails no request and cuts no connection.
func TestSwap(t *testing.T) {
	a, b := backend(t, echo), backend(t, echo)
	p := proxy(t, to("a"), map[string][]string{"a": {a}, "b": {b}})
	stopped, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for i := 0; ; i++ {
			select {
			case <-stopped:
				return
			default:
			}
			resp, err := http.Post("http://"+p.addr(), "text/plain", strings.NewReader("x"))
			if err != nil || resp.StatusCode != 200 {
				failed <- fmt.Errorf("request %d: %v %v", i, err, resp)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	for i := range 50 {
		p.routes(to([]string{"a", "b"}[i%2]))
		p.swap()
		time.Sleep(2 * time.Millisecond)
	}
	close(stopped)
	if err := <-failed; err != nil {
		t.Error(err)
	}
}
