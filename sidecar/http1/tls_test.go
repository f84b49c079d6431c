package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// secure is TLS on both sides, with a test server's certificate and without checks: identities are mtls' business.
type secure struct{ cfg *tls.Config }

func newSecure(t *testing.T) *secure {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	return &secure{&tls.Config{Certificates: s.TLS.Certificates, InsecureSkipVerify: true}}
}

func (s *secure) Server(ctx context.Context, raw net.Conn) (net.Conn, *exchange.Security, error) {
	c := tls.Server(raw, s.cfg)
	return c, &exchange.Security{}, c.HandshakeContext(ctx)
}

func (s *secure) Accepts(*exchange.Security) bool { return true }

func (s *secure) Handshake(ctx context.Context, raw net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	c := tls.Client(raw, s.cfg)
	return c, &exchange.Security{}, c.HandshakeContext(ctx)
}

// TestOverTLS: the upstream's silence makes the proxy listen to its client; neither that nor a client that pipelines
// meanwhile harms the connections, which serve on.
func TestOverTLS(t *testing.T) {
	s := newSecure(t)
	accepted, waits := make(chan struct{}, 10), make(chan struct{})
	plain := func(c net.Conn) {
		accepted <- struct{}{}
		r := bufio.NewReader(c)
		for n := 1; readHead(r) != ""; n++ {
			if n == 7 { // whose client gives up
				close(waits)
				_, _ = io.Copy(io.Discard, r)
				return
			}
			time.Sleep(3 * 20 * time.Millisecond)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}
	b := script(t, func(c net.Conn, r *bufio.Reader) { plain(tls.Server(c, s.cfg)) })
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
		p.cfg.Clusters["c"].Sockets = []upstream.Socket{{TLS: s}}
		p.cfg.Listeners[0].Chains[0].TLS = s
	})
	c, err := tls.Dial("tcp", p.addr(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(c)
	for range 3 {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(40 * time.Millisecond) // by now the proxy listens
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		for range 2 {
			if head := readHead(r); !strings.Contains(head, " 200 ") {
				t.Fatalf("got %q", head)
			}
			if body, err := r.Peek(2); err != nil || string(body) != "ok" {
				t.Fatalf("got %q %v", body, err)
			}
			_, _ = r.Discard(2)
		}
	}
	if n := len(accepted); n != 1 {
		t.Errorf("%d upstream connections", n)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	select {
	case <-waits:
	case <-time.After(30 * time.Second):
		t.Error("the last request never came")
	}
	c.Close()
	if rec := p.book.last(t, 7); rec.flags != "DC" {
		t.Errorf("a client that gives up: got %+v", rec)
	}
}

// corked gathers what is written until it is asked to send.
type corked struct {
	net.Conn
	gathers bool
	buf     []byte
}

func (c *corked) Write(p []byte) (int, error) {
	if c.gathers {
		c.buf = append(c.buf, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// An upstream that sends a second answer in the same packet as the first, in a TLS record of its own, or soon after it, answers nobody with it,
// in whatever way the next request leaves: with the wait for its answer, in several writes, or piece by piece as it comes.
func TestUnaskedAnswer(t *testing.T) {
	s := newSecure(t)
	asks := map[string]string{
		"small":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
		"long":     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("x", 5000),
		"longer":   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40000),
		"streamed": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		"head":     "GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("x", 5000) + "\r\n\r\n",
	}
	for name, ask := range asks {
		t.Run("inside TLS/"+name, func(t *testing.T) {
			b := script(t, func(c net.Conn, _ *bufio.Reader) {
				cork := &corked{Conn: c}
				secured := tls.Server(cork, s.cfg)
				for r := bufio.NewReader(secured); whole(r); {
					cork.gathers = true
					_, _ = io.WriteString(secured, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					_, _ = io.WriteString(secured, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
					cork.gathers = false
					_, _ = c.Write(cork.buf)
					cork.buf = nil
				}
			})
			askFourTimes(t, ask, nil, proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.cfg.Clusters["c"].Sockets = []upstream.Socket{{TLS: s}} }))
		})
		t.Run("late/"+name, func(t *testing.T) {
			said := make(chan struct{}, 10)
			b := script(t, func(c net.Conn, r *bufio.Reader) {
				for whole(r) {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					time.Sleep(10 * time.Millisecond)
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
					said <- struct{}{}
				}
			})
			askFourTimes(t, ask, said, proxy(t, to("c"), map[string][]string{"c": {b}}))
		})
	}
}

// whole reads a request with its body; false: there is none.
func whole(r *bufio.Reader) bool {
	in, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, in.Body)
	return err == nil
}

// askFourTimes sends a request on one connection, and expects "ok" each time. said, where it is not nil, is when to go on.
func askFourTimes(t *testing.T, ask string, said chan struct{}, p *mesh) {
	t.Helper()
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(c)
	for n := range 4 {
		_, _ = io.WriteString(c, ask)
		if head := readHead(r); !strings.Contains(head, " 200 ") {
			t.Fatalf("request %d: got %q", n, head)
		}
		body := make([]byte, 2)
		if _, err := io.ReadFull(r, body); err != nil || string(body) != "ok" {
			t.Fatalf("request %d: got %q %v", n, body, err)
		}
		if said != nil {
			<-said
		}
	}
}
