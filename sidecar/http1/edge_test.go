package http1_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// dial opens a client's connection that no test hangs on.
func (p *mesh) dial() (net.Conn, *bufio.Reader) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, bufio.NewReader(c)
}

// TestChainGone: a client whose chain has gone is answered once more and told to go, unless the chain was what let it in.
func TestChainGone(t *testing.T) {
	for name, c := range map[string]struct {
		via      exchange.Via
		answered bool
	}{
		"outbound": {exchange.Via{Listener: "l", Direction: exchange.Outbound}, true},
		"gateway":  {exchange.Via{Listener: "l", Direction: exchange.Outbound, Gateway: true}, true},
		"inbound":  {exchange.Via{Listener: "l", Direction: exchange.Inbound}, false},
	} {
		for _, gone := range []string{"chain", "listener"} {
			t.Run(name+", "+gone, func(t *testing.T) {
				p := proxy(t, to("c"), map[string][]string{"c": {backend(t, echo)}}, func(p *mesh) { p.cfg.Listeners[0].Via = &c.via })
				nc, r := p.dial()
				ask := func() string {
					_, _ = io.WriteString(nc, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
					return readHead(r)
				}
				if got := ask(); !strings.Contains(got, " 200 ") {
					t.Fatalf("got %q", got)
				}
				if p.cfg.Listeners = nil; gone == "chain" {
					p.cfg.Listeners = []*config.Listener{{Name: "l", Via: &c.via, Chains: []*config.FilterChain{{Match: config.Match{Port: 1}, TCP: &config.TCP{}}}}}
				}
				p.swap()
				got := ask()
				if c.answered && (!strings.Contains(got, " 200 ") || !strings.Contains(got, "connection: close")) || !c.answered && got != "" {
					t.Errorf("got %q", got)
				}
				if _, err := r.ReadByte(); err == nil {
					t.Error("the connection stays")
				}
			})
		}
	}
}

// TestClientGoneWhileQueued: a client that gives up while its request waits for a connection is noticed.
func TestClientGoneWhileQueued(t *testing.T) {
	asked := make(chan struct{}, 2)
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, r)
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.cfg.Clusters["c"].Limits.Connections = 1 })
	first, _ := p.dial()
	_, _ = io.WriteString(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-asked
	second, _ := p.dial()
	_, _ = io.WriteString(second, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	time.Sleep(100 * time.Millisecond)
	second.Close()
	if r := p.book.last(t, 1); r.flags != "DC" {
		t.Errorf("got %+v", r)
	}
}

// TestRequestsTakeTurns: with one connection and one request at a time, those that wait are served one after another.
func TestRequestsTakeTurns(t *testing.T) {
	const clients = 5
	asked, release := make(chan struct{}, clients), make(chan struct{})
	b := backend(t, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
		p.cfg.Clusters["c"].Limits = upstream.Limits{Connections: 1, Pending: 10, Requests: 1}
	})
	answers := make(chan string, clients)
	for range clients {
		go func() { answers <- p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") }()
	}
	<-asked
	time.Sleep(100 * time.Millisecond) // for the others to come
	close(release)
	for range clients {
		if got := <-answers; !strings.Contains(got, "HTTP/1.1 200") {
			t.Errorf("got\n%s", got)
		}
	}
}

// TestSlowHead: a head that has begun must be there in time; a connection on which none has begun may wait.
func TestSlowHead(t *testing.T) {
	p := proxy(t, to("c"), map[string][]string{"c": {backend(t, echo)}}, func(p *mesh) { p.http.HeadTimeout = 200 * time.Millisecond })
	c, r := p.dial()
	for range 2 { // the second head's time does not begin with the first one's
		time.Sleep(300 * time.Millisecond)
		_, _ = io.WriteString(c, "HEAD / HT")
		time.Sleep(50 * time.Millisecond)
		_, _ = io.WriteString(c, "TP/1.1\r\nHost: a\r\n\r\n")
		if got := readHead(r); !strings.Contains(got, " 200 ") {
			t.Fatalf("got %q", got)
		}
	}
	start := time.Now()
	for range 20 {
		if _, err := io.WriteString(c, "G"); err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
		if r.Buffered() > 0 {
			break
		}
	}
	if got := readHead(r); !strings.Contains(got, " 408 ") || time.Since(start) > 5*time.Second {
		t.Errorf("got %q after %v", got, time.Since(start))
	}
}

// TestConnectWithABody: what follows a CONNECT that was refused is never taken for a request.
func TestConnectWithABody(t *testing.T) {
	var smuggled atomic.Bool
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		for head := readHead(r); head != ""; head = readHead(r) {
			smuggled.Store(smuggled.Load() || strings.Contains(head, "smuggled"))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	inner := "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, framing := range []string{"Content-Length: 38", "Transfer-Encoding: chunked"} {
		got := p.raw("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n" + framing + "\r\n\r\n" + inner)
		if !strings.Contains(got, "HTTP/1.1 403") || !strings.Contains(got, "connection: close") || strings.Contains(got, " 200 ") || smuggled.Load() {
			t.Errorf("%s:\n%s", framing, got)
		}
	}
}

// TestFailuresThatTakeTheirTime: a server that closes a connection long after it got the request may have done what it was asked.
func TestFailuresThatTakeTheirTime(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: " 200 ", 400 * time.Millisecond: " 503 "} {
		var asked atomic.Int32
		b := script(t, func(c net.Conn, r *bufio.Reader) {
			for readHead(r) != "" {
				if asked.Add(1) == 2 { // the first one to use a connection again
					time.Sleep(wait)
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		p := proxy(t, to("c"), map[string][]string{"c": {b}})
		c, r := p.dial()
		for i := range 2 {
			_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
			got := readHead(r)
			if i == 1 && !strings.Contains(got, want) {
				t.Errorf("closed after %v: got %q", wait, got)
			}
		}
	}
}

// TestBadBodies: a body that is none is answered while the answer has not begun, and on record as the client's mistake.
func TestBadBodies(t *testing.T) {
	b := backend(t, echo)
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	for i, body := range []string{"zz\r\n", "3\r\nabcd\r\n", "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n", "3\r\nabc\r\n0\r\nX: " + strings.Repeat("x", 40<<10)} {
		got := p.raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
		if !strings.Contains(got, "HTTP/1.1 400") || !strings.Contains(got, "connection: close") {
			t.Errorf("%.20q: got %q", body, got)
		}
		if r := p.book.last(t, i+1); r.status != 400 || r.flags != "DPE" {
			t.Errorf("%.20q: got %+v", body, r)
		}
	}
}

// TestManyPipelinedRequests: a client that has sent more than a small buffer holds is noticed all the same when it goes.
func TestManyPipelinedRequests(t *testing.T) {
	b := script(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	p := proxy(t, []route.RouteConfig{{Clusters: []route.Weighted{{Cluster: "c"}}}}, map[string][]string{"c": {b}})
	c, _ := p.dial()
	_, _ = io.WriteString(c, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 500))
	time.Sleep(100 * time.Millisecond)
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if r := p.book.last(t, 1); r.flags != "DC" {
		t.Errorf("got %+v", r)
	}
}

// named is a listener's TLS of which only the name that a client asked for matters.
type named string

func (n named) Server(_ context.Context, raw net.Conn) (net.Conn, *exchange.Security, error) {
	return raw, &exchange.Security{SNI: string(n)}, nil
}
func (named) Accepts(*exchange.Security) bool { return true }

// TestMisdirected: at an edge, a host that another server of the port has is not missing, but asked for at the wrong place.
func TestMisdirected(t *testing.T) {
	p := proxy(t, nil, nil, func(p *mesh) {
		table, err := route.New(route.Config{Name: "r", IgnorePort: true, VirtualHosts: []route.VirtualHostConfig{
			{Name: "v", Domains: []string{"open.example.com"}, Routes: []route.RouteConfig{{Direct: &route.Direct{Status: 200}}}}}})
		if err != nil {
			p.t.Fatal(err)
		}
		p.cfg.Routes = map[string]*route.Table{"r": table}
		l := p.cfg.Listeners[0]
		l.Via = &exchange.Via{Listener: "l", Direction: exchange.Outbound, Gateway: true}
		l.Chains = []*config.FilterChain{
			{Name: "guarded", Match: config.Match{ServerNames: []string{"guarded.example.com"}}, TLS: named("guarded.example.com"), HTTP: p.http},
			{Name: "open", TLS: named("open.example.com"), HTTP: p.http},
		}
	})
	for i, c := range []struct{ host, want, details string }{
		{"open.example.com", " 200 ", "direct_response"}, {"guarded.example.com:443", " 421 Misdirected Request", "misdirected_request"}, {"elsewhere.example.com", " 404 ", "route_not_found"},
	} {
		if got := p.raw("GET / HTTP/1.1\r\nHost: " + c.host + "\r\nConnection: close\r\n\r\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q", c.host, got)
		}
		if r := p.book.last(t, i+1); r.details != c.details {
			t.Errorf("%s: got %+v", c.host, r)
		}
	}
}
