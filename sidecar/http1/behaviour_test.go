package http1_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// echo answers with what it saw.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.Header().Set("Trailer", "X-End")
	fmt.Fprintf(w, "%s %s body=%q err=%v trailer=%v te=%v", r.Method, r.URL, body, err, r.Trailer, r.TransferEncoding)
	w.Header().Set("X-End", "yes")
}

func TestRequests(t *testing.T) {
	b := backend(t, echo)
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	const end = "connection: close\r\n\r\n"
	for name, c := range map[string]struct {
		send string
		want []string
		not  string
	}{
		"content-length": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n" + end + "abc", []string{`POST / body="abc" err=<nil>`, "te=[]"}, ""},
		"chunked, with a trailer": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n" + end + "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-T: v\r\n\r\n",
			[]string{`body="abcde"`, "map[X-T:[v]]", "te=[chunked]", "x-end: yes"}, ""},
		"empty chunked":           {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "0\r\n\r\n", []string{`body=""`}, ""},
		"head has no body":        {"HEAD / HTTP/1.1\r\nHost: a\r\n" + end, []string{"HTTP/1.1 200 OK"}, "body="},
		"absolute form":           {"GET http://other:80/x?y HTTP/1.1\r\nHost: a\r\n" + end, []string{"GET /x?y body"}, ""},
		"absolute form, no path":  {"GET http://other?y HTTP/1.1\r\nHost: a\r\n" + end, []string{"GET /?y body"}, ""},
		"options asterisk":        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n" + end, []string{"HTTP/1.1 200"}, ""},
		"empty lines before":      {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + end, []string{"HTTP/1.1 200"}, ""},
		"pipelined, in order":     {"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n" + end, []string{"GET /1 body", "GET /2 body"}, ""},
		"dot segments":            {"GET /a/../b//%2e%2e/%63 HTTP/1.1\r\nHost: a\r\n" + end, []string{"GET /b/c body"}, ""},
		"obs-fold":                {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", []string{"HTTP/1.1 400", "connection: close"}, ""},
		"bare LF":                 {"GET / HTTP/1.1\nHost: a\n\n", []string{"HTTP/1.1 400"}, ""},
		"bare CR":                 {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"NUL":                     {"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"space before colon":      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"no host":                 {"GET / HTTP/1.1\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"two hosts":               {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"user part in authority":  {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"differing lengths":       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", []string{"HTTP/1.1 400"}, ""},
		"equal lengths":           {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", []string{"HTTP/1.1 400"}, ""},
		"bytes beyond ASCII":      {"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"host named away":         {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"the client named away":   {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"dots with parameters":    {"GET /a/b/..;x/c HTTP/1.1\r\nHost: a\r\n" + end, []string{"GET /a/c body"}, ""},
		"length beside encoding":  {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", []string{"HTTP/1.1 400", "connection: close"}, "smuggled"},
		"signed length":           {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", []string{"HTTP/1.1 400"}, ""},
		"other encodings":         {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"two encodings":           {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"bad version":             {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"bad method":              {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", []string{"HTTP/1.1 400"}, ""},
		"HTTP/1.0 is off":         {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", []string{"HTTP/1.1 426"}, ""},
		"fragment":                {"GET /a#b HTTP/1.1\r\nHost: a\r\n" + end, []string{"HTTP/1.1 400"}, ""},
		"broken escape":           {"GET /a%zz HTTP/1.1\r\nHost: a\r\n" + end, []string{"HTTP/1.1 400"}, ""},
		"long head":               {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 61<<10) + "\r\n\r\n", []string{"HTTP/1.1 431", "connection: close"}, ""},
		"many headers":            {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: 1\r\n", 101) + "\r\n", []string{"HTTP/1.1 431"}, ""},
		"long head within limits": {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 50<<10) + "\r\n" + end, []string{"HTTP/1.1 200"}, ""},
		"bad chunk size":          {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", []string{"HTTP/1.1 400", "connection: close", "Bad Request"}, "200 OK"},
		"connect is not allowed":  {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", []string{"HTTP/1.1 403"}, ""},
		"h2c upgrade is ignored":  {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n\r\n", []string{"HTTP/1.1 200"}, ""},
		"unknown upgrade":         {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n", []string{"HTTP/1.1 403"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.raw(c.send)
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("want %q in:\n%s", w, got)
				}
			}
			if c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("do not want %q in:\n%s", c.not, got)
			}
		})
	}
}

// TestHopByHop sees what the upstream gets.
func TestHopByHop(t *testing.T) {
	got := make(chan string, 1)
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		got <- readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: x-private\r\nX-Private: 1\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n\r\n")
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	out := p.raw("GET / HTTP/1.1\r\nHost: a\r\nX-Keep: 1\r\nX-Drop: 2\r\nConnection: x-drop, keep-alive, content-length\r\nKeep-Alive: 1\r\nTE: gzip\r\nProxy-Connection: x\r\nx-forwarded-client-cert: spoofed\r\n\r\n")
	head := <-got
	for _, not := range []string{"x-drop", "connection:", "keep-alive", "te:", "spoofed"} {
		if strings.Contains(head, not) {
			t.Errorf("%q reached the upstream:\n%s", not, head)
		}
	}
	if !strings.Contains(head, "x-keep: 1") || !strings.Contains(head, "x-request-id: ") {
		t.Errorf("missing fields:\n%s", head)
	}
	if strings.Contains(out, "x-private") || strings.Contains(out, "keep-alive") {
		t.Errorf("hop-by-hop fields reached the client:\n%s", out)
	}
}

func readHead(r *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		switch {
		case err != nil:
			return ""
		case line == "\r\n":
			return b.String()
		}
	}
}

func TestUpstreamAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   string
		flags  string
	}{
		"garbage":                   {"hello there\r\n\r\n", "HTTP/1.1 502", "UPE"},
		"both framings":             {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 502", "UPE"},
		"chunks in HTTP/1.0":        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 502", "UPE"},
		"differing lengths":         {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 502", "UPE"},
		"equal lengths":             {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 502", "UPE"},
		"no content with a length":  {"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 502", "UPE"},
		"no content with chunks":    {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 502", "UPE"},
		"an interim with a length":  {"HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 502", "UPE"},
		"bare LF":                   {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 502", "UPE"},
		"closed without an answer":  {"", "HTTP/1.1 503", "UC"},
		"closed inside the head":    {"HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 503", "UC"},
		"uninvited switch":          {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 502", "UPE"},
		"until close":               {"HTTP/1.1 200 OK\r\n\r\nto the end", "a\r\nto the end\r\n0\r\n\r\n", "-"},
		"interim, then final":       {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204", "-"},
		"cut inside the body":       {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "half", "UPE"},
		"cut inside a chunked body": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "half", "UPE"},
		"cut inside a chunk":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf", "half", "UPE"},
	} {
		t.Run(name, func(t *testing.T) {
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				_, _ = io.WriteString(nc, c.answer)
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}})
			got := p.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("want %q in:\n%s", c.want, got)
			}
			if strings.HasPrefix(name, "cut inside a chunked") && strings.Contains(got, "0\r\n\r\n") {
				t.Errorf("a cut body looks complete:\n%s", got)
			}
			r := p.book.last(t, 1)
			if r.flags != c.flags {
				t.Errorf("got flags %s, want %s", r.flags, c.flags)
			}
			if c.want == "half" && r.details != "upstream_reset_after_response_started{protocol_error}" {
				t.Errorf("got details %s", r.details)
			}
		})
	}
}

// TestFaultyFramingEndsTheConnection: HTTP/1.0 has no chunks (RFC 9112, 6.1). Who says both may have anything follow, whatever it says of keeping the connection.
func TestFaultyFramingEndsTheConnection(t *testing.T) {
	var requests atomic.Int32
	b := script(t, func(nc net.Conn, r *bufio.Reader) {
		for readHead(r) != "" {
			if requests.Add(1) == 1 {
				_, _ = io.WriteString(nc, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
				if readHead(r) != "" {
					t.Error("the connection is used again")
				}
				return
			}
			_, _ = io.WriteString(nc, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	for i, want := range []string{"HTTP/1.1 502", "HTTP/1.1 200", "HTTP/1.1 200"} {
		if got := p.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(got, want) || strings.Contains(got, "abc") {
			t.Errorf("answer %d: want %q in:\n%s", i+1, want, got)
		}
	}
}

func TestOutcomes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	ln.Close()
	routes := []route.RouteConfig{
		{Match: route.Match{Path: "/nc"}, Clusters: []route.Weighted{{Cluster: "nope"}}},
		{Match: route.Match{Path: "/missing"}, Clusters: []route.Weighted{{Cluster: "nope"}}, Missing: 500},
		{Match: route.Match{Path: "/uh"}, Clusters: []route.Weighted{{Cluster: "empty"}}},
		{Match: route.Match{Path: "/uf"}, Clusters: []route.Weighted{{Cluster: "dead"}}},
		{Match: route.Match{Path: "/uo"}, Clusters: []route.Weighted{{Cluster: "full"}}},
		{Match: route.Match{Path: "/ut"}, Clusters: []route.Weighted{{Cluster: "silent"}}, Timeout: 50 * time.Millisecond},
		{Match: route.Match{Path: "/direct"}, Direct: &route.Direct{Status: 418, Body: []byte("teapot")}},
		{Match: route.Match{Path: "/old"}, Redirect: &route.Redirect{Path: "/new", Scheme: "https"}},
	}
	asked := make(chan struct{}, 2)
	silent := script(t, func(_ net.Conn, r *bufio.Reader) {
		readHead(r)
		asked <- struct{}{}
		_, _ = r.ReadByte()
	})
	p := proxy(t, routes, map[string][]string{"empty": nil, "dead": {dead}, "full": {silent}, "silent": {silent}}, func(p *mesh) {
		p.cfg.Clusters["full"].Limits.Requests = 1
	})
	first, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, _ = io.WriteString(first, "GET /uo HTTP/1.1\r\nHost: a\r\n\r\n")
	<-asked
	for i, c := range []struct{ path, want, flags, details string }{
		{"/nothing", "HTTP/1.1 404", "NR", "route_not_found"},
		{"/nc", "HTTP/1.1 503", "NC", "cluster_not_found"},
		{"/missing", "HTTP/1.1 500", "NC", "cluster_not_found"},
		{"/uh", "HTTP/1.1 503", "UH", "no_healthy_upstream"},
		{"/uf", "HTTP/1.1 503", "UF", "upstream_reset_before_response_started{remote_connection_failure}"},
		{"/uo", "HTTP/1.1 503", "UO", "upstream_reset_before_response_started{overflow}"},
		{"/ut", "HTTP/1.1 504", "UT", "response_timeout"},
		{"/direct", "HTTP/1.1 418", "-", "direct_response"},
		{"/old", "location: https://a/new", "-", "direct_response"},
	} {
		got := p.raw("GET " + c.path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: want %q in:\n%s", c.path, c.want, got)
		}
		if r := p.book.last(t, i+1); r.flags != c.flags || r.details != c.details {
			t.Errorf("%s: got %+v", c.path, r)
		}
	}
	grpc := p.raw("POST /uh HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if !strings.Contains(grpc, "HTTP/1.1 200") || !strings.Contains(grpc, "grpc-status: 14") {
		t.Errorf("gRPC: got\n%s", grpc)
	}
}

// TestRequestsThatAreNone: what cannot be understood is refused, recorded, and ends the connection.
func TestRequestsThatAreNone(t *testing.T) {
	p := proxy(t, to("c"), nil)
	for i, c := range []struct{ send, want, details string }{
		{"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400", "http1.codec_error"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400", "http1.content_length_and_chunked_not_allowed"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "HTTP/1.1 400", "http1.content_length_not_allowed"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 400", "http1.invalid_transfer_encoding"},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", "HTTP/1.1 400", "http1.invalid_characters"},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n", "HTTP/1.1 400", "http1.invalid_characters"},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "HTTP/1.1 400", "http1.invalid_characters"},
		{"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "HTTP/1.1 400", "http1.codec_error"},
		{"GET / HTTP/1.1\r\nX: a\r\n\r\n", "HTTP/1.1 400", "missing_host_header"},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "HTTP/1.1 400", "http1.multiple_host_headers"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", "HTTP/1.1 400", "http1.invalid_content_length"},
		{"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400", "http1.invalid_url"},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 61<<10) + "\r\n\r\n", "HTTP/1.1 431", "http1.headers_too_large"},
	} {
		nc, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_, _ = io.WriteString(nc, c.send)
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		got, err := io.ReadAll(nc)
		if err != nil || !strings.HasPrefix(string(got), c.want) || !strings.Contains(string(got), "connection: close") {
			t.Errorf("%d: got %v\n%s", i, err, got)
		}
		if r := p.book.last(t, i+1); r.flags != "DPE" || r.details != c.details {
			t.Errorf("%d: got %+v", i, r)
		}
	}
}

func TestRetry(t *testing.T) {
	var n atomic.Int32
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		for {
			head := readHead(r)
			if head == "" {
				return
			}
			if strings.HasPrefix(head, "POST") {
				_, _ = r.Discard(2)
			}
			n.Add(1)
			status := "503 Service Unavailable"
			if n.Load() == 3 {
				status = "200 OK"
			}
			fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 0\r\nX-Try: %s\r\n\r\n", status, between(head, "x-envoy-attempt-count: ", "\r\n"))
		}
	})
	rs := to("c")
	rs[0].Retry = &route.Retry{On: route.OnGatewayError, Attempts: 2, Base: time.Millisecond}
	p := proxy(t, rs, map[string][]string{"c": {b}})
	got := p.raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab")
	if !strings.Contains(got, "HTTP/1.1 200") {
		t.Errorf("got\n%s", got)
	}
	if r := p.book.last(t, 1); r.attempts != 3 || r.flags != "-" {
		t.Errorf("got %+v", r)
	}
	n.Store(10)
	p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if r := p.book.last(t, 2); r.attempts != 3 || r.flags != "URX" || r.status != 503 {
		t.Errorf("got %+v", r)
	}
}

// TestOverflowIsTold: the client is told that it was a limit, but not by a proxy that is to add no fields of forwarding.
func TestOverflowIsTold(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		asked := make(chan struct{}, 1)
		silent := script(t, func(_ net.Conn, r *bufio.Reader) {
			readHead(r)
			asked <- struct{}{}
			_, _ = r.ReadByte()
		})
		p := proxy(t, to("c"), map[string][]string{"c": {silent}}, func(p *mesh) {
			p.http.Quiet, p.cfg.Clusters["c"].Limits.Requests = quiet, 1
		})
		first, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		_, _ = io.WriteString(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		<-asked
		for _, kind := range []string{"text/plain", "application/grpc"} {
			got := p.raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\nContent-Type: " + kind + "\r\n\r\n")
			if strings.Contains(got, "x-envoy-overloaded: true\r\n") == quiet {
				t.Errorf("quiet %v, %s: got\n%s", quiet, kind, got)
			}
		}
	}
}

// TestRetryOverflow: a retry that the cluster has no place for is an overflow, as in Envoy; only the policy's own number is exceeded.
func TestRetryOverflow(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	})
	rs := to("c")
	rs[0].Retry = &route.Retry{On: route.OnGatewayError, Attempts: 2, Base: time.Millisecond}
	p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) { p.cfg.Clusters["c"].Limits.Budget = &upstream.RetryBudget{} })
	if got := p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "HTTP/1.1 503") || strings.Contains(got, "x-envoy-overloaded") {
		t.Errorf("got\n%s", got)
	}
	if r := p.book.last(t, 1); r.attempts != 1 || r.flags != "UO" || r.status != 503 {
		t.Errorf("got %+v", r)
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// TestClientGivesUp sees the upstream's connection end soon after the client has gone. One that only says that it will send no more is not told apart
// from it, as in Envoy: clients close when their users cancel.
func TestClientGivesUp(t *testing.T) {
	s := newSecure(t)
	for name, c := range map[string]struct {
		tls  bool
		goes func(net.Conn)
	}{
		"closes":               {false, func(c net.Conn) { _ = c.Close() }},
		"ends its half":        {false, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }},
		"resets":               {false, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }},
		"closes TLS":           {true, func(c net.Conn) { _ = c.Close() }},
		"ends its half of TLS": {true, func(c net.Conn) { _ = c.(*tls.Conn).CloseWrite() }},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan bool, 1)
			b := script(t, func(c net.Conn, r *bufio.Reader) {
				readHead(r)
				_, _ = c.Read(make([]byte, 1))
				gone <- true
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
				if c.tls {
					p.cfg.Listeners[0].Chains[0].TLS = s
				}
			})
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if c.tls {
				nc = tls.Client(nc, s.cfg)
			}
			_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			time.Sleep(50 * time.Millisecond)
			c.goes(nc)
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Fatal("the upstream never noticed")
			}
			if r := p.book.last(t, 1); r.flags != "DC" || r.status != 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// TestClosedPooledConnection: the other side closes an idle connection; the next request must not see that.
func TestClosedPooledConnection(t *testing.T) {
	var conns atomic.Int32
	closed := make(chan struct{}, 5)
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		if readHead(r) != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		_ = c.Close()
		closed <- struct{}{}
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	for i := range 5 {
		if got := p.raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "HTTP/1.1 200") {
			t.Errorf("request %d: got\n%s", i, got)
		}
		<-closed
		time.Sleep(20 * time.Millisecond)
	}
	if conns.Load() != 5 {
		t.Errorf("%d connections", conns.Load())
	}
}

// TestEarlyResponse: the upstream answers, and the client gets the answer, while the client is still sending.
func TestEarlyResponse(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
		time.Sleep(100 * time.Millisecond)
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	out, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(out), "HTTP/1.1 413") || !strings.HasSuffix(string(out), "much") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestContinue(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		body := make([]byte, 3)
		_, _ = io.ReadFull(r, body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%s", body)
		readHead(r)
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	if got := readHead(r); got != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("got %q", got)
	}
	_, _ = io.WriteString(c, "abc")
	if got := readHead(r); !strings.Contains(got, "HTTP/1.1 200") || strings.Contains(got, "close") {
		t.Errorf("got %q", got)
	}
}

func TestWebSocket(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		head := readHead(r)
		if !strings.Contains(head, "upgrade: websocket") || !strings.Contains(head, "connection: upgrade") {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhi")
		_, _ = io.Copy(c, r)
		_, _ = io.WriteString(c, "bye")
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	r := bufio.NewReader(c)
	if got := readHead(r); !strings.Contains(got, "HTTP/1.1 101") || !strings.Contains(got, "upgrade: websocket\r\n") {
		t.Fatalf("got %q", got)
	}
	_, _ = io.WriteString(c, "ping")
	got := make([]byte, 6)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "hiping" {
		t.Fatalf("got %q %v", got, err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	rest, _ := io.ReadAll(r)
	if string(rest) != "bye" {
		t.Errorf("after half-close: got %q", rest)
	}
	if rec := p.book.last(t, 1); rec.status != 101 || rec.received != 4 || rec.sent != 9 || rec.flags != "DC" || rec.details != "downstream_remote_disconnect" {
		t.Errorf("got %+v", rec)
	}
}

// TestQuiet: a proxy that is to add none of the fields that tell of forwarding adds only the number of the try, and leaves what others have said.
func TestQuiet(t *testing.T) {
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			w.Header()["Saw-"+name] = values
		}
		w.Header().Set("x-envoy-upstream-service-time", "theirs")
	})
	prefix, routes := "/b", to("c")
	routes[0].Match.Path, routes[0].Rewrite, routes[0].Timeout = "/a", route.Rewrite{Prefix: &prefix, Host: "other"}, time.Minute
	for _, quiet := range []bool{false, true} {
		told := !quiet
		p := proxy(t, routes, map[string][]string{"c": {b}}, func(p *mesh) { p.http.Quiet = quiet })
		resp, err := http.Get("http://" + p.addr() + "/a")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for _, name := range []string{"x-envoy-original-path", "x-envoy-original-host", "x-envoy-expected-rq-timeout-ms"} {
			if got := resp.Header.Get("saw-" + name); (got != "") != told {
				t.Errorf("quiet %v: %s: %q", quiet, name, got)
			}
		}
		if got := resp.Header.Get("saw-x-envoy-attempt-count"); got != "1" {
			t.Errorf("quiet %v: x-envoy-attempt-count: %q", quiet, got)
		}
		if got := resp.Header.Get("x-envoy-upstream-service-time"); (got != "theirs") != told {
			t.Errorf("quiet %v: x-envoy-upstream-service-time: %q", quiet, got)
		}
	}
}
