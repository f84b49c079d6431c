package http2_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// shouter is a WebSocket server as far as the handshake goes, of which it refuses some at first; then it sends every byte back in upper case.
func shouter(t *testing.T, refuses int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for i := 0; ; i++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go shout(nc, i < refuses)
		}
	}()
	return l.Addr().String()
}

func shout(nc net.Conn, refuses bool) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	if req.Method != "GET" || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Sec-Websocket-Key") == "" || req.URL.Path != "/chat" {
		io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if refuses {
		io.WriteString(nc, "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		return
	}
	io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: whatever\r\nX-From: server\r\n\r\nHELLO")
	p := make([]byte, 1000)
	for {
		n, err := r.Read(p)
		if err != nil {
			return
		}
		nc.Write(bytes.ToUpper(p[:n]))
	}
}

// A WebSocket goes from HTTP/1.1 over HTTP/2 between two proxies and is HTTP/1.1 again at the end. A handshake that the server refuses is tried again by either
// proxy, as its policy says: here, both tries of the second one fail, and the first one asks it again.
func TestWebSocketAcrossBothBridges(t *testing.T) {
	ws := options{http: func(h *config.HTTP) { h.Upgrades = []route.UpgradeRule{{Type: "websocket", Enabled: true}} }, route: func(r *route.RouteConfig) {
		r.Retry = &route.Retry{On: route.OnRetriableStatusCodes, Codes: []int{503}, Attempts: 1, Base: time.Millisecond}
	}}
	far := ws
	far.h2Down = true
	b := build(t, shouter(t, 2), far)
	near := ws
	near.h2Up = true
	a := build(t, b.addr, near)

	nc, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(nc, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || resp.Header.Get("X-From") != "server" || resp.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("got %v %v", resp.Status, resp.Header)
	}
	p := make([]byte, 5)
	if _, err := io.ReadFull(r, p); err != nil || string(p) != "HELLO" {
		t.Fatalf("got %q, %v", p, err)
	}
	for _, s := range []string{"one", "second", "the third"} {
		io.WriteString(nc, s)
		p := make([]byte, len(s))
		if _, err := io.ReadFull(r, p); err != nil || string(p) != string(bytes.ToUpper([]byte(s))) {
			t.Fatalf("got %q, %v", p, err)
		}
	}
	nc.Close()
	if e := a.log.wait(t, 1); e.status != 101 || e.flags != "DC" || e.attempts != 2 {
		t.Errorf("near recorded %+v", e)
	}
	if e := b.log.wait(t, 2); e.status != 101 || e.flags != "-" { // whose client has ended its stream
		t.Errorf("far recorded %+v", e)
	}
}

// A server that knows no extended CONNECT gets no silent GET.
func TestUpgradeThatUpstreamCannotTake(t *testing.T) {
	addr := origin(t, true, func(w http.ResponseWriter, r *http.Request) { t.Error("the upstream was asked") })
	m := build(t, addr, options{h2Up: true, http: func(h *config.HTTP) { h.Upgrades = []route.UpgradeRule{{Type: "websocket", Enabled: true}} }})
	req := newRequest(t, "GET", "http://"+m.addr, nil)
	req.Header.Set("Connection", "upgrade")
	req.Header.Set("Upgrade", "websocket")
	if resp, _ := do(t, client(t, false), req); resp.StatusCode != 502 {
		t.Errorf("got %v", resp.Status)
	}
}

// Requests that cannot be put into what the upstream speaks say nothing of the upstream: no client must be able to have it ejected with them.
func TestUnfitRequestsEjectNobody(t *testing.T) {
	ejects := func(c *upstream.Config) {
		c.Outlier = &outlier.Config{Consecutive5xx: 1, ConsecutiveLocal: 1, BaseEjection: time.Hour, MaxEjectionPercent: 100}
	}
	opens := func(h *config.HTTP) {
		h.Upgrades = []route.UpgradeRule{{Type: "websocket", Enabled: true}, {Type: "CONNECT", Enabled: true}}
	}
	for name, c := range map[string]struct {
		h2Up    bool
		match   route.Match
		request string
		rewrite string
	}{
		"a WebSocket to HTTP/2 without extended CONNECT": {true, route.Match{Path: "/"}, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "/"},
		"a path without a slash to HTTP/2":               {true, route.Match{Path: "/"}, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "a/"},
		"a path without a slash to HTTP/1.1":             {false, route.Match{Path: "/"}, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "a/"},
		"a CONNECT with a length to HTTP/1.1":            {false, route.Match{PathKind: route.ConnectRequests}, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 1\r\n\r\nx", "/"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := origin(t, c.h2Up, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was asked") })
			m := build(t, addr, options{h2Up: c.h2Up, http: opens, cluster: ejects, route: func(r *route.RouteConfig) { r.Match, r.Rewrite.Prefix = c.match, &c.rewrite }})
			nc, err := net.Dial("tcp", m.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			io.WriteString(nc, c.request)
			if resp, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil || resp.StatusCode != 502 {
				t.Fatalf("got %v, %v", resp, err)
			}
			m.log.wait(t, 1)
			if m.store.Load().Set.Get("up").Hosts()[0].Ejected() {
				t.Error("the upstream is ejected")
			}
		})
	}
}
