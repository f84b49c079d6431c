package tcp_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// through is an HTTP proxy that speaks both versions and plays the destination itself: serve has the tunnel's bytes. asked gets what was asked for.
func through(t *testing.T, serve func(r io.Reader, w io.Writer)) (addr string, asked <-chan string) {
	t.Helper()
	heard := make(chan string, 16)
	var versions http.Protocols
	versions.SetHTTP1(true)
	versions.SetUnencryptedHTTP2(true)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard <- r.Proto + " " + r.Method + " " + r.Host + " " + r.URL.Path
		if r.Method == http.MethodConnect && r.ProtoMajor == 1 {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
			serve(rw, conn)
			return
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		_ = http.NewResponseController(w).Flush()
		serve(r.Body, flusher{w})
	}))
	up.Config.Protocols = &versions
	up.Start()
	t.Cleanup(up.Close)
	return up.Listener.Addr().String(), heard
}

// flusher writes at once.
type flusher struct{ http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	return n, errors.Join(err, http.NewResponseController(f.ResponseWriter).Flush())
}

func tunnelled(to config.Tunnel) []*config.FilterChain {
	chains := plain("c")
	chains[0].TCP.Tunnel = &to
	return chains
}

func speaks(wire upstream.WireProtocol) func(*bed) {
	return func(b *bed) { b.cfg.Clusters["c"].Protocol = wire }
}

// tunnels are the ways through a proxy.
var tunnels = map[string]struct {
	wire upstream.WireProtocol
	to   config.Tunnel
	want string // that the proxy was asked for
}{
	"CONNECT, HTTP/1.1": {upstream.UseHTTP1, config.Tunnel{Authority: "db.example.com:5432"}, "HTTP/1.1 CONNECT db.example.com:5432 "},
	"CONNECT, HTTP/2":   {upstream.UseHTTP2, config.Tunnel{Authority: "[2001:db8::1]:5432"}, "HTTP/2.0 CONNECT [2001:db8::1]:5432 "},
	"POST, HTTP/1.1":    {upstream.UseHTTP1, config.Tunnel{Authority: "db.example.com:5432", Post: "/"}, "HTTP/1.1 POST db.example.com:5432 /"},
	"POST, HTTP/2":      {upstream.UseHTTP2, config.Tunnel{Authority: "db.example.com:5432", Post: "/tcp"}, "HTTP/2.0 POST db.example.com:5432 /tcp"},
}

// TestTunnels: bytes go both ways through a proxy, each end can end its way, and many connections do not disturb each other.
func TestTunnels(t *testing.T) {
	for name, c := range tunnels {
		t.Run(name, func(t *testing.T) {
			proxy, asked := through(t, func(r io.Reader, w io.Writer) {
				data, _ := io.ReadAll(r) // answers only after the client has ended
				_, _ = w.Write(bytes.ToUpper(data))
			})
			b := start(t, tunnelled(c.to), map[string][]string{"c": {proxy}}, speaks(c.wire))
			for i := range 2 {
				conn, sent := b.dial(t), bytes.Repeat([]byte("abcdefgh"), 1<<17)
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				go func() {
					_, _ = conn.Write(sent)
					_ = conn.CloseWrite()
				}()
				if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, bytes.ToUpper(sent)) {
					t.Fatalf("got %d bytes, %v", len(got), err)
				}
				if got := <-asked; got != c.want {
					t.Errorf("asked for %q, want %q", got, c.want)
				}
				r := b.book.last(t, i+1)
				if r.Received != 1<<20 || r.Sent != 1<<20 || r.Outcome != exchange.OK || r.Upstream.Endpoint.Address != netip.MustParseAddrPort(proxy) {
					t.Errorf("got %+v", r)
				}
			}
		})
	}
}

// TestTunnelRefused: a proxy that refuses is an upstream that cannot be reached.
func TestTunnelRefused(t *testing.T) {
	for name, wire := range map[string]upstream.WireProtocol{"HTTP/1.1": upstream.UseHTTP1, "HTTP/2": upstream.UseHTTP2} {
		t.Run(name, func(t *testing.T) {
			var versions http.Protocols
			versions.SetHTTP1(true)
			versions.SetUnencryptedHTTP2(true)
			up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
			up.Config.Protocols = &versions
			up.Start()
			defer up.Close()
			b := start(t, tunnelled(config.Tunnel{Authority: "db:1"}), map[string][]string{"c": {up.Listener.Addr().String()}}, speaks(wire))
			if got, _ := io.ReadAll(b.dial(t)); len(got) != 0 {
				t.Errorf("got %q", got)
			}
			if r := b.book.last(t, 1); r.Outcome != exchange.ConnectFailure || r.Flags.String() != "UF" || !strings.Contains(r.Upstream.Failure, "407") {
				t.Errorf("got %v %v %q", r.Outcome, r.Flags, r.Upstream.Failure)
			}
		})
	}
}

// TestTunnelAhead: on an undeclared port whoever speaks first is heard, through a proxy too.
func TestTunnelAhead(t *testing.T) {
	for name, c := range tunnels {
		t.Run(name, func(t *testing.T) {
			proxy, _ := through(t, func(r io.Reader, w io.Writer) {
				_, _ = io.WriteString(w, "220 ready\n")
				_, _ = io.Copy(w, r)
			})
			chains := sniffed("c")
			chains[1].TCP.Tunnel = &c.to
			b := start(t, chains, map[string][]string{"c": {proxy}}, func(b *bed) {
				inspect(b)
				speaks(c.wire)(b)
			})
			conn, got := b.dial(t), make([]byte, 10)
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "220 ready\n" {
				t.Fatalf("got %q %v", got, err)
			}
			_, _ = io.WriteString(conn, "HELO there")
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "HELO there" {
				t.Fatalf("got %q %v", got, err)
			}
			_ = conn.Close()
			if r := b.book.last(t, 1); r.Received != 10 || r.Sent != 20 {
				t.Errorf("got %+v", r)
			}
		})
	}
}
