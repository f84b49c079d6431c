package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
)

// letters is a body of n bytes, of which no two parts are alike.
func letters(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strconv.Itoa(i))
		b.WriteByte(' ')
	}
	return b.String()[:n]
}

// TestLongBodiesAreSentAgain: up to 1 MiB, in pieces that came one after the other, trailers and all; what is longer is sent once, and so is all that a
// route without retries gets.
func TestLongBodiesAreSentAgain(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		n      int
		policy *route.Retry
		tries  int
	}{
		"short":         {60_000, &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond}, 3},
		"long":          {300_000, &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond}, 3},
		"longest":       {mib, &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond}, 3},
		"too long":      {mib + 1, &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond}, 1},
		"no retries":    {300_000, nil, 1},
		"a try's limit": {300_000, &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond, PerTry: 20 * time.Second, PerTryIdle: 20 * time.Second}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, n := letters(c.n), atomic.Int32{}
			b := backend(t, func(w http.ResponseWriter, r *http.Request) {
				n.Add(1)
				if got, err := io.ReadAll(r.Body); err != nil || string(got) != body || r.Trailer.Get("X-Tail") != "1" {
					t.Errorf("try %d: %d bytes, %v, trailers %v", n.Load(), len(got), err, r.Trailer)
				}
				w.WriteHeader(503)
			})
			rs := to("c")
			rs[0].Timeout, rs[0].Retry = 30*time.Second, c.policy
			p := proxy(t, rs, map[string][]string{"c": {b}})
			nc, r := p.dial()
			for range 2 { // the second exchange has nothing of the first
				_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tail\r\n\r\n")
				for rest := body; rest != ""; {
					piece := rest[:min(len(rest), 40_000)]
					rest = rest[len(piece):]
					_, _ = fmt.Fprintf(nc, "%x\r\n%s\r\n", len(piece), piece)
				}
				_, _ = io.WriteString(nc, "0\r\nX-Tail: 1\r\n\r\n")
				if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 503 ") {
					t.Fatalf("got\n%s", got)
				}
			}
			for i := range 2 {
				if got := p.book.last(t, i+1); got.attempts != c.tries || got.received != int64(c.n) {
					t.Errorf("got %+v", got)
				}
			}
			if int(n.Load()) != 2*c.tries {
				t.Errorf("%d tries", n.Load())
			}
		})
	}
}

// TestCutLongBodiesAreSentAgain: an upstream that ends in the middle of a body, which waits for it, gets it from its beginning.
func TestCutLongBodiesAreSentAgain(t *testing.T) {
	body, n, sent := letters(900_000), atomic.Int32{}, make(chan struct{})
	b := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		if n.Add(1) < 3 {
			_, _ = io.CopyN(io.Discard, r, 200_000)
			<-sent
			time.Sleep(100 * time.Millisecond)
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
		got := make([]byte, len(body))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != body {
			t.Errorf("%v, or another body", err)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	})
	rs := to("c")
	rs[0].Retry = &route.Retry{On: route.OnReset, Attempts: 2, Base: time.Millisecond}
	p := proxy(t, rs, map[string][]string{"c": {b}})
	nc, r := p.dial()
	_ = nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	wrote, _ := io.WriteString(nc, request)
	close(sent) // or as much as there is room for
	_ = nc.SetWriteDeadline(time.Time{})
	_, _ = io.WriteString(nc, request[wrote:])
	if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("got\n%s", got)
	}
	if got := p.book.last(t, 1); got.attempts != 3 || got.received != int64(len(body)) {
		t.Errorf("got %+v", got)
	}
}

// TestLongBodiesOnTheirWayAgain: where a long body is sent again to an upstream that does not read it, its answer is seen, and the client's leaving, and limits
// hold as they would have at first; that of the request's arrival does no more.
func TestLongBodiesOnTheirWayAgain(t *testing.T) {
	const early = "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"
	for name, c := range map[string]struct {
		answer  string // the second try's, before anything of the body is read
		leaves  bool
		arrival time.Duration
		route   route.RouteConfig
		want    string
		flags   string
	}{
		"an early answer":       {early, false, 0, route.RouteConfig{}, "HTTP/1.1 403 ", "-"},
		"the request's timeout": {"", false, 0, route.RouteConfig{Timeout: 2 * time.Second}, "HTTP/1.1 504 ", "UT"},
		"a try's timeout":       {"", false, 0, route.RouteConfig{Timeout: time.Minute, Retry: &route.Retry{PerTry: time.Second}}, "HTTP/1.1 504 ", "URX,UT"},
		"the route's idle time": {"", false, 0, route.RouteConfig{Idle: new(time.Second)}, "HTTP/1.1 504 ", "SI"},
		"the client has gone":   {"", true, 0, route.RouteConfig{}, "", "DC"},
		"it came in time":       {"", false, 2 * time.Second, route.RouteConfig{Timeout: 3 * time.Second}, "HTTP/1.1 504 ", "UT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, body, second, end := atomic.Int32{}, letters(1<<20), make(chan struct{}, 1), make(chan struct{})
			t.Cleanup(func() { close(end) })
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				readHead(r)
				if n.Add(1) == 1 {
					_, _ = io.CopyN(io.Discard, r, int64(len(body)))
					_, _ = io.WriteString(nc, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
					return
				}
				_, _ = io.WriteString(nc, c.answer)
				second <- struct{}{}
				<-end
			})
			rs := to("c")
			rs[0].Timeout, rs[0].Idle, rs[0].Retry = c.route.Timeout, c.route.Idle, &route.Retry{On: route.OnGatewayError, Attempts: 1, Base: time.Millisecond}
			if c.route.Retry != nil {
				rs[0].Retry.PerTry = c.route.Retry.PerTry
			}
			p := proxy(t, rs, map[string][]string{"c": {b}}, func(p *mesh) { p.http.RequestTimeout = c.arrival })
			nc, r := p.dial()
			_, _ = fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			select {
			case <-second:
			case <-time.After(20 * time.Second):
				t.Fatal("no second try")
			}
			if c.leaves {
				_ = nc.Close()
			} else if got := readHead(r); !strings.HasPrefix(got, c.want) {
				t.Errorf("got\n%s", got)
			}
			if got := p.book.last(t, 1); got.flags != c.flags || got.attempts != 2 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestRefusedUpgradesAreSentAgain: an upgrade that the application answers with a status that the policy names, like any other request. One that it accepts stays.
func TestRefusedUpgradesAreSentAgain(t *testing.T) {
	const websocket, connect = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"
	busy := "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"
	switched := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi"
	for name, c := range map[string]struct {
		request string
		answers []string
		want    string
	}{
		"then accepted":         {websocket, []string{busy, switched}, "HTTP/1.1 101 "},
		"twice, then accepted":  {websocket, []string{busy, busy, switched}, "HTTP/1.1 101 "},
		"too often":             {websocket, []string{busy, busy, busy}, "HTTP/1.1 503 "},
		"accepted":              {websocket, []string{switched}, "HTTP/1.1 101 "},
		"CONNECT":               {connect, []string{busy, "HTTP/1.1 200 OK\r\n\r\nhi"}, "HTTP/1.1 200 "},
		"CONNECT, accepted":     {connect, []string{"HTTP/1.1 200 OK\r\n\r\nhi"}, "HTTP/1.1 200 "},
		"with another protocol": {websocket, []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", switched}, "HTTP/1.1 101 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			b := script(t, func(nc net.Conn, r *bufio.Reader) {
				for readHead(r) != "" {
					if i := int(n.Add(1)); i <= len(c.answers) {
						_, _ = io.WriteString(nc, c.answers[i-1])
					}
				}
			})
			rs := to("c")
			if c.request == connect {
				rs[0].Match.PathKind, rs[0].Upgrades = route.ConnectRequests, []route.UpgradeRule{{Type: "CONNECT", Enabled: true}}
			}
			rs[0].Retry = &route.Retry{On: route.OnRetriableStatusCodes, Codes: []int{101, 200, 503}, Attempts: 2, Base: time.Millisecond}
			p := proxy(t, rs, map[string][]string{"c": {b}})
			nc, r := p.dial()
			_, _ = io.WriteString(nc, c.request)
			if got := readHead(r); !strings.HasPrefix(got, c.want) {
				t.Errorf("got\n%s", got)
			}
			body := make([]byte, 2)
			if _, err := io.ReadFull(r, body); err != nil || !strings.HasSuffix(c.answers[len(c.answers)-1], string(body)) {
				t.Errorf("got %q: %v", body, err)
			}
			_ = nc.Close()
			if got := p.book.last(t, 1); got.attempts != len(c.answers) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
