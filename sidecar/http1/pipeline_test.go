package http1_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/route"
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
