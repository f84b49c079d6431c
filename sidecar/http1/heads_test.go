package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// TestLongHeads: heads may be as long, and have as many fields, as listener and cluster say, both ways; longer ones are refused.
func TestLongHeads(t *testing.T) {
	lines := func(n, size int) string {
		var out strings.Builder
		for i := range n {
			fmt.Fprintf(&out, "x-%d: %s\r\n", i, strings.Repeat("v", size))
		}
		return out.String()
	}
	upstreams := func(limits upstream.Limits) func(*mesh) {
		return func(p *mesh) { p.cfg.Clusters["c"].Limits = limits }
	}
	long := func(p *mesh) { p.http.MaxHead = 1 << 20 }
	for name, c := range map[string]struct {
		request, response string
		change            []func(*mesh)
		want              string
	}{
		"a long request":               {lines(1, 900<<10), "", []func(*mesh){long}, "HTTP/1.1 200"},
		"a longer request":             {lines(1, 1100<<10), "", []func(*mesh){long}, "HTTP/1.1 431"},
		"a long request by default":    {lines(1, 61<<10), "", nil, "HTTP/1.1 431"},
		"many fields":                  {lines(300, 1), "", []func(*mesh){func(p *mesh) { p.http.MaxHeaders = 400 }}, "HTTP/1.1 200"},
		"many fields by default":       {lines(101, 1), "", nil, "HTTP/1.1 431"},
		"a long response":              {"", lines(1, 900<<10), []func(*mesh){upstreams(upstream.Limits{MaxHead: 1 << 20})}, "HTTP/1.1 200"},
		"a longer response":            {"", lines(1, 1100<<10), []func(*mesh){upstreams(upstream.Limits{MaxHead: 1 << 20})}, "HTTP/1.1 50"},
		"a long response by default":   {"", lines(1, 61<<10), nil, "HTTP/1.1 50"},
		"a short response":             {"", lines(1, 3<<10), []func(*mesh){upstreams(upstream.Limits{MaxHead: 2 << 10})}, "HTTP/1.1 50"},
		"a response's fields":          {"", lines(300, 1), []func(*mesh){upstreams(upstream.Limits{MaxHeaders: 400})}, "HTTP/1.1 200"},
		"a response's fields, default": {"", lines(101, 1), nil, "HTTP/1.1 50"},
	} {
		t.Run(name, func(t *testing.T) {
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				for readHead(r) != "" {
					_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"+c.response+"\r\nok")
				}
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, c.change...)
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			r := bufio.NewReader(nc)
			for range 2 { // what a long head took up is given back
				go io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n"+c.request+"\r\n")
				if got := readHead(r); !strings.HasPrefix(got, c.want) {
					t.Fatalf("got %.200q", got)
				} else if !strings.Contains(got, " 200") {
					return
				}
				if _, err := r.Discard(2); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
