//go:build !race

package http1_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/cors"
	"github.com/heddle-mesh/heddle/sidecar/filter/fault"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// canned answers every request with the same bytes, without allocating.
func canned(t testing.TB) string {
	answer := []byte("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 64\r\n\r\n" + string(bytes.Repeat([]byte("x"), 64)))
	return script(t, func(c net.Conn, _ *bufio.Reader) {
		buf := make([]byte, 4096)
		for n := 0; ; {
			m, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				if _, err := c.Write(answer); err != nil {
					return
				}
				n = 0
			}
		}
	})
}

// look reads request headers, as a policy would.
type look struct{ name string }

func (l look) Request(x *exchange.Exchange) exchange.Outcome {
	if x.Request.Get(l.name).Is("forbidden") || x.Conn.Peer().Known() {
		return exchange.Denied
	}
	return exchange.OK
}

// sixFilters is a mesh hop's own work: six filters, header operations both ways, a retry policy.
func sixFilters(t testing.TB) *mesh {
	b := canned(t)
	corsFilter, err := cors.New(cors.Config{Origins: []cors.Origin{{Exact: "https://a"}}})
	if err != nil {
		t.Fatal(err)
	}
	faultFilter, err := fault.New(fault.Config{Status: 500})
	if err != nil {
		t.Fatal(err)
	}
	rs := []route.RouteConfig{
		{Match: route.Match{Path: "/other"}, Clusters: []route.Weighted{{Cluster: "c"}}},
		{Match: route.Match{Path: "/", Headers: []route.HeaderMatch{{Name: "x-user", Match: route.StringMatch{Value: "no"}, Invert: true}}},
			Clusters: []route.Weighted{{Cluster: "c", Weight: 90}, {Cluster: "c", Weight: 10}},
			Request:  headers.Config{Add: []headers.Op{{Name: "x-from", Value: "%DOWNSTREAM_REMOTE_ADDRESS%", Action: headers.Overwrite}}},
			Response: headers.Config{Remove: []string{"x-powered-by"}, Add: []headers.Op{{Name: "x-served", Value: "heddle"}}},
			Retry:    &route.Retry{On: route.OnConnectFailure | route.OnRefusedStream, Attempts: 2, OtherHost: true, HostPicks: 5}},
	}
	p := proxy(t, rs, map[string][]string{"c": {b}})
	p.http.Filters = []filter.Named{
		{Kind: filter.Deny, Filter: look{"x-deny-more"}}, {Kind: filter.Deny, Filter: look{"x-deny"}},
		{Kind: filter.Allow, Filter: look{"x-allow"}}, {Kind: filter.Allow, Filter: look{"x-more"}},
		{Kind: filter.CORS, Filter: corsFilter}, {Kind: filter.Fault, Filter: faultFilter},
	}
	return p
}

// caller sends the same request again and again on one connection.
func caller(t testing.TB, addr string) func() {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	request := []byte("GET /a/b?c=d HTTP/1.1\r\nHost: reviews.shop.svc.cluster.local:9080\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nX-User: jane\r\nx-request-id: 0\r\n\r\n")
	buf := make([]byte, 4096)
	tail := bytes.Repeat([]byte("x"), 64)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; {
			m, err := c.Read(buf[n:])
			if err != nil {
				t.Fatal(err)
			}
			if n += m; bytes.HasSuffix(buf[:n], tail) {
				if !bytes.Contains(buf[:n], []byte("x-served: heddle")) {
					t.Fatalf("got %q", buf[:n])
				}
				return
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	p := sixFilters(t)
	p.book.silent = true
	call := caller(t, p.addr())
	for range 200 {
		call()
	}
	if n := testing.AllocsPerRun(2000, call); n != 0 {
		t.Errorf("%v allocations for a proxied keep-alive GET", n)
	}
}

// TestIdleMemory holds what an idle client connection and its share of everything else cost.
func TestIdleMemory(t *testing.T) {
	const conns, most = 500, 14 << 10
	p := sixFilters(t)
	p.book.silent = true
	caller(t, p.addr())()
	before := inUse()
	for range conns {
		c, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1024)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if each := (inUse() - before) / conns; each > most {
		t.Errorf("an idle connection costs %d bytes, want at most %d", each, most)
	} else {
		t.Logf("an idle connection costs %d bytes", each)
	}
}

func inUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

func BenchmarkHop(b *testing.B) {
	p := sixFilters(b)
	p.book.silent = true
	call := caller(b, p.addr())
	call()
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}
