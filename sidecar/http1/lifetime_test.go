package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

func TestHTTP10(t *testing.T) {
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // no length
		_, _ = io.WriteString(w, "hello")
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.http.HTTP10 = true })
	got := p.raw("GET / HTTP/1.0\r\n\r\n")
	if !strings.Contains(got, "HTTP/1.1 200") || strings.Contains(got, "chunked") || !strings.Contains(got, "connection: close") || !strings.HasSuffix(got, "\r\n\r\nhello") {
		t.Errorf("without a length the body ends with the connection: got\n%s", got)
	}
	got = p.raw("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD / HTTP/1.0\r\n\r\n")
	if strings.Count(got, "HTTP/1.1 200") != 2 || !strings.Contains(got, "connection: keep-alive") {
		t.Errorf("keep-alive on request: got\n%s", got)
	}
}

// TestOtherHost: a retry goes elsewhere while there is elsewhere.
func TestOtherHost(t *testing.T) {
	bad := script(t, func(c net.Conn, r *bufio.Reader) {
		for readHead(r) != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
		}
	})
	good := backend(t, echo)
	rs := to("c")
	rs[0].Retry = &route.Retry{On: route.On5xx, Attempts: 1, Base: time.Millisecond, OtherHost: true, HostPicks: 20}
	p := proxy(t, rs, map[string][]string{"c": {bad, good}})
	for range 30 {
		if got := p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "HTTP/1.1 200") {
			t.Fatalf("got\n%s", got)
		}
	}
}

// TestRetryWithTrailers: what was kept of a request for another try has its trailers.
func TestRetryWithTrailers(t *testing.T) {
	var tries atomic.Int32
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(503)
			return
		}
		echo(w, r)
	})
	rs := to("c")
	rs[0].Retry = &route.Retry{On: route.On5xx, Attempts: 1, Base: time.Millisecond}
	for name, body := range map[string]string{"a body": "3\r\nabc\r\n0\r\nX-T: v\r\n\r\n", "none": "0\r\nX-T: v\r\n\r\n"} {
		tries.Store(0)
		p := proxy(t, rs, map[string][]string{"c": {b}})
		got := p.raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nConnection: close\r\n\r\n" + body)
		want := `body="abc"`
		if name == "none" {
			want = `body=""`
		}
		if !strings.Contains(got, "HTTP/1.1 200") || !strings.Contains(got, want) || !strings.Contains(got, "trailer=map[X-T:[v]]") || tries.Load() != 2 {
			t.Errorf("%s: after %d tries, got\n%s", name, tries.Load(), got)
		}
	}
}

// TestDrain: clients are told to go with their next answer, and nothing is cut.
func TestDrain(t *testing.T) {
	b := backend(t, echo)
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	ask := func() string {
		_, _ = io.WriteString(c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
		return readHead(r)
	}
	if got := ask(); !strings.Contains(got, " 200 ") || strings.Contains(got, "close") {
		t.Fatalf("got %q", got)
	}
	p.m.Drain(exchange.Outbound)
	if got := ask(); !strings.Contains(got, " 200 ") || !strings.Contains(got, "connection: close") {
		t.Fatalf("got %q", got)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection stays: %v", err)
	}
}

// TestIdleConnectionsEndWithDraining: nobody waits for clients that ask for nothing.
func TestIdleConnectionsEndWithDraining(t *testing.T) {
	b := backend(t, echo)
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	_, _ = io.WriteString(c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := readHead(r); !strings.Contains(got, " 200 ") || strings.Contains(got, "close") {
		t.Fatalf("got %q", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if n := p.m.Shutdown(ctx); n != 0 || ctx.Err() != nil {
		t.Errorf("%d connections cut, %v", n, ctx.Err())
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection stays: %v", err)
	}
}

// TestDrainingWaitsForHeads: a request is under way from its first byte on, but a client that says no more of it holds up nobody for long.
func TestDrainingWaitsForHeads(t *testing.T) {
	const ask, begun, rest = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HT", "TP/1.1\r\nHost: a\r\n\r\n"
	s := newSecure(t)
	for name, tlsToo := range map[string]bool{"plaintext": false, "TLS, behind an answer": true} {
		for stalls, cut := range map[string]int{"goes on": 0, "stalls": 1} {
			t.Run(name+"/"+stalls, func(t *testing.T) {
				p := proxy(t, to("c"), map[string][]string{"c": {backend(t, echo)}}, func(p *mesh) {
					if tlsToo {
						p.cfg.Listeners[0].Chains[0].TLS = s
					}
				})
				c, err := net.Dial("tcp", p.addr())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if tlsToo { // both in one packet, so that the second is there when the first answer leaves
					cork := &corked{Conn: c}
					secured := tls.Client(cork, s.cfg)
					if err := secured.Handshake(); err != nil {
						t.Fatal(err)
					}
					cork.gathers = true
					_, _ = io.WriteString(secured, ask)
					_, _ = io.WriteString(secured, begun)
					cork.gathers = false
					_, _ = c.Write(cork.buf)
					c = secured
				} else {
					_, _ = io.WriteString(c, begun)
				}
				r := bufio.NewReader(c)
				if tlsToo && !strings.Contains(readHead(r), " 200 ") {
					t.Fatal("no first answer")
				}
				for tries := 0; ; tries++ {
					if _, busy := p.m.Count(exchange.Outbound); busy == 1 {
						break
					}
					if tries == 1000 {
						t.Fatal("a session whose client has begun to ask counts as idle")
					}
					time.Sleep(10 * time.Millisecond)
				}
				limit := 30 * time.Second
				if cut > 0 {
					limit = 100 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				done := make(chan int)
				go func() { done <- p.m.Shutdown(ctx) }()
				if cut == 0 {
					_, _ = io.WriteString(c, rest)
					if got := readHead(r); !strings.Contains(got, " 200 ") {
						t.Errorf("got %q", got)
					}
				}
				if n := <-done; n != cut {
					t.Errorf("%d connections cut, want %d", n, cut)
				}
			})
		}
	}
}

// deny lets nobody in.
type deny struct{}

func (deny) Connection(*exchange.Connection) exchange.Outcome { return exchange.Denied }

// TestCutRequestsSayWhy: a request whose connection this proxy cut is not one whose client went away.
func TestCutRequestsSayWhy(t *testing.T) {
	drained := func(p *mesh) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		p.m.Shutdown(ctx)
	}
	revoked := func(p *mesh) {
		l := *p.cfg.Listeners[0]
		l.Chains = []*config.FilterChain{{HTTP: p.http, Network: []filter.Network{deny{}}}}
		p.cfg.Listeners = []*config.Listener{&l}
		p.swap()
	}
	for name, c := range map[string]struct {
		answer, request string
		cut             func(*mesh)
		flags, details  string
	}{
		"drained before the answer":    {"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", drained, "LR", "drained"},
		"drained inside the answer":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", drained, "LR", "drained"},
		"drained inside the request":   {"", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", drained, "LR", "drained"},
		"drained inside a tunnel":      {"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\nhello", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", drained, "LR", "drained"},
		"revoked before the answer":    {"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", revoked, "-", "permission_revoked"},
		"revoked inside the answer":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", revoked, "-", "permission_revoked"},
		"revoked while it is half way": {"", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", revoked, "-", "permission_revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			began := make(chan struct{}, 1)
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				_, _ = io.WriteString(nc, c.answer)
				began <- struct{}{}
				_, _ = io.Copy(io.Discard, r)
			})
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
				p.cfg.Listeners[0].Via = &exchange.Via{Listener: "l", Direction: exchange.Inbound}
			})
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_, _ = io.WriteString(nc, c.request)
			<-began
			if c.answer != "" {
				_ = readHead(bufio.NewReader(nc))
			}
			time.Sleep(30 * time.Millisecond)
			c.cut(p)
			if r := p.book.last(t, 1); r.flags != c.flags || r.details != c.details {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// TestTunnelCutByUpstream: a tunnel whose upstream ends is closed for the client too.
func TestTunnelCutByUpstream(t *testing.T) {
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nbye")
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	got := p.raw("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	if !strings.HasSuffix(got, "\r\n\r\nbye") {
		t.Errorf("got %q", got)
	}
	if rec := p.book.last(t, 1); rec.status != 101 || rec.flags != "UC" || rec.details != "upstream_reset_after_response_started{connection_termination}" {
		t.Errorf("got %+v", rec)
	}
}

// TestRefusedUpgrade: the upstream answers as if it were a plain request.
func TestRefusedUpgrade(t *testing.T) {
	b := backend(t, echo)
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	got := p.raw("GET /u HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.Contains(got, "GET /u body") || !strings.Contains(got, "GET /next body") {
		t.Errorf("got\n%s", got)
	}
}

// TestServerSentEvents: each piece reaches the client when it is sent, not when the next one is.
func TestServerSentEvents(t *testing.T) {
	next := make(chan struct{})
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 3 {
			<-next
			_, _ = io.WriteString(c, "5\r\nevent\r\n")
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
		readHead(r)
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	resp, err := http.Get("http://" + p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 5)
	for range 3 {
		next <- struct{}{}
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "event" {
			t.Fatalf("got %q %v", buf, err)
		}
	}
	if n, err := resp.Body.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("got %d %v", n, err)
	}
}

// TestLeavingTheMesh: what the mesh tells itself stays inside.
func TestLeavingTheMesh(t *testing.T) {
	got := make(chan string, 2)
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		got <- readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	p := proxy(t, to("in"), map[string][]string{"in": {b}, "out": {b}}, func(p *mesh) {
		p.http.StripMesh, p.http.ForwardCert = true, config.AlwaysForwardOnly
		p.cfg.Clusters["out"].Info.External = true
	})
	for _, cluster := range []string{"in", "out"} {
		p.routes(to(cluster))
		p.swap()
		p.raw("GET / HTTP/1.1\r\nHost: a\r\nX-Envoy-Peer-Metadata: m\r\nX-Forwarded-Client-Cert: c\r\nTraceparent: t\r\nConnection: close\r\n\r\n")
		head := <-got
		for _, name := range []string{"x-envoy-peer-metadata", "x-forwarded-client-cert", "x-envoy-attempt-count"} {
			if strings.Contains(head, name) != (cluster == "in") {
				t.Errorf("%s: %s:\n%s", cluster, name, head)
			}
		}
		if !strings.Contains(head, "traceparent: t") {
			t.Errorf("%s: no traceparent:\n%s", cluster, head)
		}
	}
}

// TestLongAnswers: a direct response has up to 1 MiB.
func TestLongAnswers(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<16)
	p := proxy(t, []route.RouteConfig{{Match: route.Match{PathKind: route.Prefix, Path: "/"}, Direct: &route.Direct{Status: 404, Body: []byte(body)}}}, nil)
	for range 2 {
		resp, err := http.Get("http://" + p.addr())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != body || resp.ContentLength != 1<<20 {
			t.Errorf("got %d bytes of %d, %v", len(got), resp.ContentLength, err)
		}
	}
}

// TestDecorator: between proxies that trace, the answer says what the server's route calls what is done, where the client did not; applications see
// none of it, and answers of the proxy's own say so too.
func TestDecorator(t *testing.T) {
	const name = "x-envoy-decorator-operation"
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get(name))
		if r.URL.Path == "/named" {
			w.Header().Set(name, "server:80/*")
		}
	})
	for _, c := range []struct {
		why                      string
		direction                exchange.Direction
		tracing                  bool
		path, said, seen, answer string
	}{
		{"no tracing", exchange.Inbound, false, "/", "client:80/*", "client:80/*", ""},
		{"the client does not say", exchange.Inbound, true, "/", "", "", "route:80/*"},
		{"the client says", exchange.Inbound, true, "/", "client:80/*", "", ""},
		{"an answer of its own", exchange.Inbound, true, "/own", "", "", "route:80/*"},
		{"to the server's proxy", exchange.Outbound, true, "/", "", "route:80/*", ""},
		{"from the server's proxy", exchange.Outbound, true, "/named", "", "route:80/*", ""},
		{"from the server, untraced", exchange.Outbound, false, "/named", "", "", "server:80/*"},
	} {
		routes := []route.RouteConfig{{Match: route.Match{PathKind: route.Exact, Path: "/own"}, Direct: &route.Direct{Status: 200}, Operation: "route:80/*"},
			{Match: route.Match{PathKind: route.Prefix, Path: "/"}, Clusters: []route.Weighted{{Cluster: "c", Weight: 1}}, Operation: "route:80/*"}}
		p := told(t, &book{}, telemetry.New(telemetry.Options{Spans: telemetry.NewSpans()}), routes, map[string][]string{"c": {b}}, func(p *mesh) {
			if p.cfg.Listeners[0].Via.Direction = c.direction; c.tracing {
				p.cfg.Listeners[0].Via.Tracing = &exchange.Tracing{}
			}
		})
		q, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+p.addr()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.said != "" {
			q.Header.Set(name, c.said)
		}
		resp, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if seen, answer := resp.Header.Get("X-Seen"), resp.Header.Get(name); seen != c.seen || answer != c.answer {
			t.Errorf("%s: the application sees %q, the client %q", c.why, seen, answer)
		}
	}
}

// TestLongBodies: what comes back while it is still being sent is what was sent, with a length and without.
func TestLongBodies(t *testing.T) {
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 0 {
			w.Header().Set("Content-Length", r.Header.Get("Content-Length"))
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	sent := strings.Repeat("0123456789abcdef", 1<<19) // 8 MiB
	for name, body := range map[string]io.Reader{"length": strings.NewReader(sent), "chunks": io.MultiReader(strings.NewReader(sent))} {
		resp, err := http.Post("http://"+p.addr(), "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != sent {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
	if r := p.book.last(t, 2); r.received != 8<<20 || r.sent != 8<<20 {
		t.Errorf("got %+v", r)
	}
}
