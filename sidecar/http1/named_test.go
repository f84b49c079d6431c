package http1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/lookup"
)

// here is a resolver by whom every name below example.com is at 127.0.0.1.
type here struct{}

func (here) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if !strings.HasSuffix(name, ".example.com.") {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// ask sends a GET for a host and returns the status and the answer.
func (p *mesh) ask(host string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+p.addr()+"/", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Host = host
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// namer secures nothing, and notes the names of the hosts that it was to secure connections to.
type namer struct {
	mu    sync.Mutex
	names []string
}

func (c *namer) Handshake(_ context.Context, raw net.Conn, ep *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, ep.Host)
	return raw, &exchange.Security{}, nil
}

// TestHostsByName: a request goes where its host's name leads, each name by connections of its own, which are used again; names that the cluster is not for
// go nowhere.
func TestHostsByName(t *testing.T) {
	b := netip.MustParseAddrPort(backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	calls := &namer{}
	p := proxy(t, to("c"), map[string][]string{"c": nil}, func(p *mesh) {
		c := p.cfg.Clusters["c"]
		c.Discovery, c.Balancer, c.Names = upstream.Named, upstream.Passthrough, lookup.Names{Within: "*.example.com", Port: b.Port()}
		c.Sockets = []upstream.Socket{{TLS: calls}}
	})
	for n, host := range []string{"a.example.com", "a.example.com:1234", "b.example.com", "A.example.com", "b.example.com"} {
		if status, body := p.ask(host); status != 200 || body != host {
			t.Errorf("%s: %d %q", host, status, body)
		}
		p.book.last(t, n+1)
	}
	for n, host := range []string{"a.example.org", "example.com", "127.0.0.1"} {
		if status, _ := p.ask(host); status != 503 {
			t.Errorf("%s: %d", host, status)
		}
		if r := p.book.last(t, n+6); r.flags != "UH" {
			t.Errorf("%s: flags %s", host, r.flags)
		}
	}
	calls.mu.Lock()
	defer calls.mu.Unlock()
	if slices.Sort(calls.names); fmt.Sprint(slices.Compact(calls.names)) != "[a.example.com b.example.com]" {
		t.Errorf("connections to %v", calls.names)
	}
}

// TestMirrorByName: a copy for a cluster that goes by names goes where the client wanted to go, whatever the request's host is rewritten to.
func TestMirrorByName(t *testing.T) {
	b := backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
	hosts := make(chan string, 1)
	copies := netip.MustParseAddrPort(backend(t, func(_ http.ResponseWriter, r *http.Request) { hosts <- r.Host }))
	rs := to("c")
	rs[0].Rewrite.Host = "rewritten.example.org"
	rs[0].Mirrors = []route.Mirror{{Cluster: "names", Fraction: 1_000_000}}
	p := proxy(t, rs, map[string][]string{"c": {b}, "names": nil}, func(p *mesh) {
		c := p.cfg.Clusters["names"]
		c.Discovery, c.Balancer, c.Names = upstream.Named, upstream.Passthrough, lookup.Names{Within: "*.example.com", Port: copies.Port()}
	})
	if status, body := p.ask("a.example.com"); status != 200 || body != "rewritten.example.org" {
		t.Fatalf("%d %q", status, body)
	}
	select {
	case got := <-hosts:
		if got != "rewritten.example.org" {
			t.Errorf("the copy is for %q", got)
		}
	case <-time.After(30 * time.Second):
		t.Error("there is no copy")
	}
}

// TestUnixSocket: an endpoint may be a socket of this host.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d bytes", len(body))
	}))
	app.Listener.Close()
	app.Listener = ln
	app.Start()
	defer app.Close()
	p := proxy(t, to("c"), map[string][]string{"c": nil}, func(p *mesh) {
		p.cfg.Clusters["c"].Endpoints = []*exchange.Endpoint{{Path: path, Weight: 1}}
		p.cfg.Clusters["c"].Source = netip.MustParseAddr("127.0.0.6") // which is for addresses
	})
	for n := range 3 {
		res, err := http.Post("http://"+p.addr()+"/", "text/plain", strings.NewReader(strings.Repeat("x", 100_000*n)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := fmt.Sprintf("%d bytes", 100_000*n); res.StatusCode != 200 || string(body) != want {
			t.Errorf("%d %q, want %q", res.StatusCode, body, want)
		}
	}
}
