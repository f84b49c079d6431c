package http1_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// TestMaxStream holds what becomes of a request that lasts longer than it may with its response, whatever moves meanwhile: an answer while there can be one,
// which says who was waited for, else a cut.
func TestMaxStream(t *testing.T) {
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"
	const short, long = 300 * time.Millisecond, time.Minute
	none := time.Duration(0)
	route := func(d time.Duration) *time.Duration { return &d }
	for name, c := range map[string]struct {
		send    string
		answer  string // what the upstream begins with; it trickles afterwards
		http    time.Duration
		route   *time.Duration
		want    []string
		details string
	}{
		"no answer":                    {get + "\r\n", "", short, nil, []string{"HTTP/1.1 504 ", "downstream duration timeout"}, "max_duration_timeout"},
		"no answer, by the route":      {get + "\r\n", "", long, route(short), []string{"HTTP/1.1 504 ", "downstream duration timeout"}, "max_duration_timeout"},
		"inside the answer":            {get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", short, nil, []string{"HTTP/1.1 200 ", "xx"}, "max_duration_timeout"},
		"inside the request":           {post + "Content-Length: 5\r\n\r\nab", "", short, nil, []string{"HTTP/1.1 408 ", "connection: close", "downstream duration timeout"}, "max_duration_timeout"},
		"inside both":                  {post + "Content-Length: 5\r\n\r\nab", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", short, nil, []string{"HTTP/1.1 200 ", "xx"}, "max_duration_timeout"},
		"inside a tunnel":              {get + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", short, nil, []string{"HTTP/1.1 101 ", "xx"}, "max_duration_timeout"},
		"gRPC, inside the request":     {post + "Content-Type: application/grpc\r\nContent-Length: 5\r\n\r\nab", "", short, nil, []string{"grpc-status: 4", "connection: close"}, "max_duration_timeout"},
		"a route that lets it":         {get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", short, &none, []string{"HTTP/1.1 200 ", strings.Repeat("x", 30)}, "via_upstream"},
		"a route that lets it, longer": {get + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", short, route(long), []string{"HTTP/1.1 200 ", strings.Repeat("x", 30)}, "via_upstream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				_, err := io.WriteString(nc, c.answer)
				for c.answer != "" && err == nil {
					time.Sleep(20 * time.Millisecond)
					_, err = io.WriteString(nc, "x")
				}
				_, _ = io.Copy(io.Discard, r)
			})
			rs := to("c")
			rs[0].MaxStream = c.route
			p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) { p.http.MaxStream = c.http })
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			if r := p.book.last(t, 1); r.flags != "-" || r.details != c.details {
				t.Errorf("got %+v", r)
			}
			says(t, nc, c.want)
		})
	}
}

// TestTimeoutThatTheClientSays: a grpc-timeout that the route honours bounds the whole exchange from its beginning, whatever moves meanwhile, and says nothing of
// the host. One that is no less than the route's own timeout leaves that in force.
func TestTimeoutThatTheClientSays(t *testing.T) {
	const get, post, call = "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n", "Content-Type: application/grpc\r\n"
	const open, begun = "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
	const soon, late = "Grpc-Timeout: 300m\r\n", "Grpc-Timeout: 1H\r\n"
	const short, long = 300 * time.Millisecond, time.Minute
	most := func(d time.Duration) *route.GRPCTimeout { return &route.GRPCTimeout{Max: d} }
	duration := func(d time.Duration) *time.Duration { return &d }
	ended := []string{"HTTP/1.1 504 ", "downstream duration timeout"}
	waited := []string{"HTTP/1.1 408 ", "connection: close", "downstream duration timeout"}
	cut := []string{"HTTP/1.1 200 ", "xx"}
	for name, c := range map[string]struct {
		send    string
		answer  string // what the upstream begins with; it trickles afterwards
		route   route.RouteConfig
		want    []string
		details string
		ejected bool
	}{
		"a whole request":                    {get + soon + "\r\n", "", route.RouteConfig{GRPC: most(0)}, ended, "max_duration_timeout", false},
		"one that goes on":                   {post + soon + open, "", route.RouteConfig{GRPC: most(0)}, waited, "max_duration_timeout", false},
		"a call that goes on":                {post + call + soon + open, "", route.RouteConfig{GRPC: most(0)}, []string{"grpc-status: 4"}, "max_duration_timeout", false},
		"inside the answer":                  {get + soon + "\r\n", begun, route.RouteConfig{GRPC: most(0)}, cut, "max_duration_timeout", false},
		"inside both":                        {post + soon + open, begun, route.RouteConfig{GRPC: most(0)}, cut, "max_duration_timeout", false},
		"inside a tunnel":                    {get + soon + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", route.RouteConfig{GRPC: most(0)}, []string{"HTTP/1.1 101 ", "xx"}, "max_duration_timeout", false},
		"more than the route lets it":        {post + late + open, "", route.RouteConfig{GRPC: most(short)}, waited, "max_duration_timeout", false},
		"in place of the route's":            {post + soon + open, "", route.RouteConfig{GRPC: most(0), MaxStream: duration(long)}, waited, "max_duration_timeout", false},
		"none":                               {post + "Grpc-Timeout: 0S\r\n" + open, "", route.RouteConfig{GRPC: most(0), MaxStream: duration(short)}, waited, "max_duration_timeout", false},
		"less than the route's timeout":      {get + soon + "\r\n", "", route.RouteConfig{GRPC: most(long), Timeout: long}, ended, "max_duration_timeout", false},
		"more than the route's timeout":      {get + late + "\r\n", "", route.RouteConfig{GRPC: most(short), Timeout: short}, []string{"HTTP/1.1 504 ", "upstream request timeout"}, "response_timeout", true},
		"of a call, by the timeout of calls": {post + call + soon + "Content-Length: 0\r\n\r\n", "", route.RouteConfig{GRPC: &route.GRPCTimeout{Calls: true}}, []string{"grpc-status: 4"}, "response_timeout", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				_, err := io.WriteString(nc, c.answer)
				for c.answer != "" && err == nil {
					time.Sleep(20 * time.Millisecond)
					_, err = io.WriteString(nc, "x")
				}
				_, _ = io.Copy(io.Discard, r)
			})
			rs := to("c")
			rs[0].GRPC, rs[0].Timeout, rs[0].MaxStream = c.route.GRPC, c.route.Timeout, c.route.MaxStream
			p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) {
				p.cfg.Clusters["c"].Outlier = &outlier.Config{Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: 100}
			})
			nc, _ := p.dial()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			if r := p.book.last(t, 1); r.details != c.details {
				t.Errorf("got %+v", r)
			}
			says(t, nc, c.want)
			if got := p.reg.Current().Get("c").Hosts()[0].Ejected(); got != c.ejected {
				t.Errorf("ejected: %t", got)
			}
		})
	}
}

// TestMaxStreamOfEach: on one connection, each request has the whole time for itself.
func TestMaxStreamOfEach(t *testing.T) {
	b := script(t, func(nc net.Conn, r *bufio.Reader) {
		for readHead(r) != "" {
			time.Sleep(200 * time.Millisecond)
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.http.MaxStream = time.Second })
	c, r := p.dial()
	for range 8 {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := readHead(r); !strings.Contains(got, " 200 ") {
			t.Fatalf("got %q", got)
		}
	}
}

// TestUpstreamMaxStream holds what becomes of a try that lasts longer than its cluster lets it, whatever moves meanwhile: another where the route wants one, an
// answer while there can be one, else a cut. It says nothing of the host.
func TestUpstreamMaxStream(t *testing.T) {
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
	long := post + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		send   string
		answer string // what the upstream begins with; it trickles afterwards
		want   []string
		flags  string
		tries  int
		route  route.RouteConfig
	}{
		"no answer":                 {get + "\r\n", "", []string{"HTTP/1.1 504 ", "upstream max stream duration reached"}, "UMSDR", 1, route.RouteConfig{}},
		"no answer to a long body":  {long, "", []string{"HTTP/1.1 504 ", "upstream max stream duration reached"}, "UMSDR", 1, route.RouteConfig{}},
		"inside the answer":         {get + "\r\n", head, []string{"HTTP/1.1 200 ", "xx"}, "UMSDR", 1, route.RouteConfig{}},
		"inside the request":        {post + "Content-Length: 5\r\n\r\nab", "", []string{"HTTP/1.1 408 ", "connection: close", "upstream max stream duration reached"}, "UMSDR", 1, route.RouteConfig{}},
		"inside both":               {post + "Content-Length: 5\r\n\r\nab", head, []string{"HTTP/1.1 200 ", "xx"}, "UMSDR", 1, route.RouteConfig{}},
		"inside a tunnel":           {get + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", []string{"HTTP/1.1 101 ", "xx"}, "UMSDR", 1, route.RouteConfig{}},
		"gRPC":                      {post + "Content-Type: application/grpc\r\nContent-Length: 0\r\n\r\n", "", []string{"grpc-status: 14"}, "UMSDR", 1, route.RouteConfig{}},
		"tried again":               {get + "\r\n", "", []string{"HTTP/1.1 504 "}, "URX,UMSDR", 3, route.RouteConfig{Retry: &route.Retry{On: route.OnReset, Attempts: 2}}},
		"tried again for 5xx":       {get + "\r\n", "", []string{"HTTP/1.1 504 "}, "URX,UMSDR", 2, route.RouteConfig{Retry: &route.Retry{On: route.On5xx, Attempts: 1}}},
		"not for other reasons":     {get + "\r\n", "", []string{"HTTP/1.1 504 "}, "UMSDR", 1, route.RouteConfig{Retry: &route.Retry{On: route.OnConnectFailure | route.OnRefusedStream, Attempts: 2}}},
		"an idle timeout, longer":   {get + "\r\n", "", []string{"HTTP/1.1 504 "}, "UMSDR", 1, route.RouteConfig{Idle: new(time.Minute)}},
		"an idle timeout, sooner":   {get + "\r\n", "", []string{"HTTP/1.1 504 ", "stream timeout"}, "SI", 1, route.RouteConfig{Idle: new(50 * time.Millisecond)}},
		"a timeout, sooner":         {get + "\r\n", "", []string{"HTTP/1.1 504 ", "upstream request timeout"}, "UT", 1, route.RouteConfig{Timeout: 50 * time.Millisecond}},
		"a timeout, longer":         {get + "\r\n", "", []string{"HTTP/1.1 504 "}, "UMSDR", 1, route.RouteConfig{Timeout: time.Minute}},
		"a timeout inside a tunnel": {get + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", []string{"HTTP/1.1 101 ", "xx"}, "UMSDR", 1, route.RouteConfig{Timeout: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				_, err := io.WriteString(nc, c.answer)
				for c.answer != "" && err == nil {
					time.Sleep(20 * time.Millisecond)
					_, err = io.WriteString(nc, "x")
				}
				_, _ = io.Copy(io.Discard, r)
			})
			rs := to("c")
			rs[0].Retry, rs[0].Idle, rs[0].Timeout = c.route.Retry, c.route.Idle, c.route.Timeout
			p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) {
				p.cfg.Clusters["c"].MaxStream = 300 * time.Millisecond
				p.cfg.Clusters["c"].Outlier = &outlier.Config{Consecutive5xx: 1, ConsecutiveLocal: 1, Interval: time.Hour, BaseEjection: time.Hour, MaxEjectionPercent: 100}
			})
			nc, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			r := p.book.last(t, 1)
			if r.flags != c.flags || r.attempts != c.tries || strings.Contains(c.flags, "UMSDR") && r.details != "upstream_max_stream_duration_reached" {
				t.Errorf("got %+v", r)
			}
			says(t, nc, c.want)
			if h := p.reg.Current().Get("c").Hosts()[0]; strings.Contains(c.flags, "UMSDR") && !h.Fit() {
				t.Error("the host was ejected")
			}
		})
	}
}

// TestUpstreamMaxStreamOfMirrors: it holds for copies, too.
func TestUpstreamMaxStreamOfMirrors(t *testing.T) {
	gone := make(chan struct{})
	silent := script(t, func(_ net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.Copy(io.Discard, r)
		close(gone)
	})
	b := backend(t, func(http.ResponseWriter, *http.Request) {})
	rs := to("c")
	rs[0].Mirrors = []route.Mirror{{Cluster: "m", Fraction: 1_000_000}}
	p := proxy(t, rs, map[string][]string{"c": {b}, "m": {silent}}, func(p *mesh) { p.cfg.Clusters["m"].MaxStream = 300 * time.Millisecond })
	if got := p.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.Contains(got, " 200 ") {
		t.Fatalf("got %q", got)
	}
	select {
	case <-gone:
	case <-time.After(15 * time.Second):
		t.Error("the copy goes on")
	}
}

// TestUpstreamMaxStreamOfEach: each try has the whole time for itself, from when it has its connection.
func TestUpstreamMaxStreamOfEach(t *testing.T) {
	b := script(t, func(nc net.Conn, r *bufio.Reader) {
		for readHead(r) != "" {
			time.Sleep(600 * time.Millisecond)
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
		p.cfg.Clusters["c"].MaxStream, p.cfg.Clusters["c"].Limits = 1500*time.Millisecond, upstream.Limits{Connections: 1}
	})
	var all sync.WaitGroup
	for range 4 { // three wait for the connection
		all.Go(func() {
			c, r := p.dial()
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if got := readHead(r); !strings.Contains(got, " 200 ") {
				t.Errorf("got %q", got)
			}
		})
	}
	all.Wait()
}

// TestMaxConnection: the client of a connection that is too old is told to go with the next response. One that asks for nothing more is closed once it had
// the time to, but not in the middle of a response.
func TestMaxConnection(t *testing.T) {
	const most, drain = time.Second, 2 * time.Second
	b := script(t, func(nc net.Conn, r *bufio.Reader) {
		for head := readHead(r); head != ""; head = readHead(r) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
			if strings.HasPrefix(head, "GET /slow ") {
				time.Sleep(most + drain + time.Second/2)
			}
			_, _ = io.WriteString(nc, "b")
		}
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.http.MaxConnection, p.http.DrainTimeout = most, drain })
	for name, c := range map[string]struct {
		path string
		wait time.Duration // before the next request; 0: there is none
	}{"in use": {"/", most + drain/10}, "idle": {"/", 0}, "in the middle of a response": {"/slow", 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, r := p.dial()
			ask := func(path string) (head string) {
				_, _ = io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
				head = readHead(r)
				if body := make([]byte, 2); !strings.Contains(head, " 200 ") {
					t.Errorf("got %q", head)
				} else if _, err := io.ReadFull(r, body); err != nil {
					t.Errorf("the response is not whole: %v", err)
				}
				return head
			}
			if strings.Contains(ask(c.path), "connection: close") {
				t.Error("told to go too early")
			}
			if c.wait > 0 {
				if time.Sleep(c.wait); !strings.Contains(ask("/"), "connection: close") {
					t.Error("not told to go")
				}
			}
			_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("still open: %v", err)
			}
		})
	}
}
