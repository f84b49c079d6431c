package tcp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/lookup"
)

// here is a resolver by whom a.example.com is at 127.0.0.1.
type here struct{}

func (here) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if name != "a.example.com." {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// TestClientHelloByName: a connection goes where the name in its ClientHello leads, and nowhere where it has none that the cluster is for.
func TestClientHelloByName(t *testing.T) {
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.TLS.ServerName) }))
	defer app.Close()
	port := netip.MustParseAddrPort(app.Listener.Addr().String()).Port()
	chains := plain("c")
	chains[0].TCP.NamePort = port
	b := start(t, chains, map[string][]string{"c": nil}, func(b *bed) {
		b.l.Inspect = config.Inspect{TLS: true}
		c := b.cfg.Clusters["c"]
		c.Discovery, c.Balancer, c.Names = upstream.Named, upstream.Passthrough, lookup.Names{Within: "*.example.com"}
	})
	for n, name := range []string{"a.example.com", "b.example.com", "a.example.org", ""} {
		raw := b.dial(t)
		_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
		if n == 0 { // by now the proxy looks whether the server speaks first
			time.Sleep(100 * time.Millisecond)
		}
		c := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		err := c.Handshake()
		c.Close()
		r := b.book.last(t, n+1)
		if name == "a.example.com" {
			if err != nil || r.Outcome != exchange.OK || r.Upstream.Endpoint.Host != name {
				t.Errorf("%s: %v, %v", name, err, r.Outcome)
			}
		} else if err == nil || r.Outcome != exchange.NoHealthyUpstream {
			t.Errorf("%q: %v, %v", name, err, r.Outcome)
		}
	}
}

// TestUnixSocket: bytes go to a socket of this host as they go to an address, with half-close.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		data, _ := io.ReadAll(c)
		_, _ = c.Write(append([]byte("got "), data...))
	}()
	b := start(t, plain("c"), map[string][]string{"c": nil}, func(b *bed) {
		b.cfg.Clusters["c"].Endpoints = []*exchange.Endpoint{{Path: path, Weight: 1}}
	})
	c := b.dial(t)
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(c, "bytes")
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "got bytes" {
		t.Errorf("got %q, %v", got, err)
	}
	if r := b.book.last(t, 1); r.Outcome != exchange.OK || r.Upstream.Endpoint.Path != path {
		t.Errorf("got %v to %+v", r.Outcome, r.Upstream.Endpoint)
	}
}
