package http1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/forward"
	"github.com/heddle-mesh/heddle/sidecar/http1"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/tcp"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// record is what the recorder keeps of an exchange.
type record struct {
	status   int
	flags    string
	details  string
	attempts int
	received int64
	sent     int64
}

// book is a recorder that keeps everything.
type book struct {
	mu     sync.Mutex
	ends   []record
	closed []exchange.Outcome
	panics int
	silent bool
}

func (b *book) Begin(*exchange.Exchange)                    {}
func (b *book) Opened(*exchange.Connection)                 {}
func (b *book) Progress(*exchange.Connection, int64, int64) {}
func (b *book) Refused(*exchange.Connection)                {}
func (b *book) Malformed(string)                            {}
func (b *book) Panicked()                                   { b.mu.Lock(); b.panics++; b.mu.Unlock() }
func (b *book) Closed(c *exchange.Connection, _ int64, _ int64) {
	b.mu.Lock()
	b.closed = append(b.closed, c.Outcome)
	b.mu.Unlock()
}
func (b *book) End(x *exchange.Exchange) {
	b.mu.Lock()
	if b.silent {
		b.mu.Unlock()
		return
	}
	b.ends = append(b.ends, record{x.Response.Status, x.Flags.String(), x.Text(), x.Attempts, x.Received, x.Sent})
	b.mu.Unlock()
}

// last waits for the nth record.
func (b *book) last(t testing.TB, n int) record {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		b.mu.Lock()
		if len(b.ends) >= n {
			r := b.ends[n-1]
			b.mu.Unlock()
			return r
		}
		b.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("record %d never came", n)
	return record{}
}

// mesh is a proxy under test.
type mesh struct {
	t     testing.TB
	store *config.Store
	reg   *upstream.Registry
	m     *listener.Manager
	book  *book
	cfg   config.Config
	http  *config.HTTP
	full  atomic.Bool // no memory is left
	deaf  atomic.Bool // upstream connections have no deadlines
}

// proxy starts a listener whose routes are given, with clusters by name and addresses.
func proxy(t testing.TB, routes []route.RouteConfig, clusters map[string][]string, change ...func(*mesh)) *mesh {
	t.Helper()
	return told(t, &book{}, nil, routes, clusters, change...)
}

// told is proxy with another recorder, where that is not nil.
func told(t testing.TB, b *book, tells exchange.Recorder, routes []route.RouteConfig, clusters map[string][]string, change ...func(*mesh)) *mesh {
	t.Helper()
	if tells == nil {
		tells = b
	}
	p := &mesh{t: t, book: b}
	p.reg = upstream.NewRegistry(upstream.Options{HTTP1: p.transport, Resolver: here{}, Reachable: func(netip.Addr) bool { return true }})
	p.store = config.NewStore(p.reg)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	px := forward.New(forward.Options{Recorder: tells, Log: log, Overloaded: p.full.Load})
	p.m = listener.New(listener.Options{Store: p.store, Recorder: tells, Log: log, Servers: listener.Servers{
		HTTP1: http1.NewServer(http1.Options{Proxy: px, Log: log}),
		TCP:   tcp.NewServer(tcp.Options{Recorder: p.book, Log: log}),
	}})
	p.http = &config.HTTP{RouteName: "r", Upgrades: []route.UpgradeRule{{Type: "websocket", Enabled: true}}, RequestID: true, NormalizePath: true}
	p.cfg = config.Config{
		Listeners: []*config.Listener{{
			Name: "l", Binds: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
			Via: &exchange.Via{Listener: "l", Direction: exchange.Outbound}, Chains: []*config.FilterChain{{HTTP: p.http}},
		}},
		Clusters: map[string]*upstream.Config{},
	}
	for name, addrs := range clusters {
		c := &upstream.Config{Info: exchange.ClusterInfo{Name: name}, Discovery: upstream.Static, ConnectTimeout: time.Second}
		for _, a := range addrs {
			c.Endpoints = append(c.Endpoints, &exchange.Endpoint{Address: netip.MustParseAddrPort(a), Weight: 1})
		}
		p.cfg.Clusters[name] = c
	}
	p.routes(routes)
	for _, f := range change {
		f(p)
	}
	p.swap()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		p.m.Shutdown(ctx)
		p.reg.Apply(nil, nil)
		if p.book.panics != 0 {
			t.Errorf("%d recovered panics", p.book.panics)
		}
	})
	return p
}

// transport is http1.NewTransport, or one whose deadlines never come.
func (p *mesh) transport(nc net.Conn, info *exchange.TransportInfo) (exchange.Transport, error) {
	t, err := http1.NewTransport(nc, info)
	if p.deaf.Load() {
		t = deaf{t}
	}
	return t, err
}

type deaf struct{ exchange.Transport }

func (d deaf) Open() (exchange.Stream, error) {
	s, err := d.Transport.Open()
	return deafStream{s}, err
}

type deafStream struct{ exchange.Stream }

func (deafStream) SetDeadline(time.Time) {}

func (p *mesh) routes(rs []route.RouteConfig) {
	p.t.Helper()
	table, err := route.New(route.Config{Name: "r", IgnorePort: true, VirtualHosts: []route.VirtualHostConfig{
		{Name: "v", Domains: []string{"*"}, Routes: rs, AttemptCount: true},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.cfg.Routes = map[string]*route.Table{"r": table}
}

func (p *mesh) swap() {
	p.t.Helper()
	c := p.cfg
	p.store.Swap(&c)
	if err := p.m.Sync(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *mesh) addr() string { return p.m.Addr("l").String() }

// raw sends text and returns everything that comes back until the connection ends, or pauses after complete responses.
func (p *mesh) raw(text string) string {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		p.t.Fatal(err)
	}
	patience := 400 * time.Millisecond
	if strings.Contains(text, "Connection: close") { // so will it be
		patience = 20 * time.Second
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	out, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
		out = append(out, "<"+err.Error()+">"...)
	}
	return string(out)
}

func to(cluster string) []route.RouteConfig {
	return []route.RouteConfig{{Name: "default", Clusters: []route.Weighted{{Cluster: cluster}}}}
}

// backend serves h and returns its address.
func backend(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// script serves connections by a function of raw bytes.
func script(t testing.TB, serve func(c net.Conn, r *bufio.Reader)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return ln.Addr().String()
}

func TestGet(t *testing.T) {
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Saw", r.Host+" "+r.URL.String()+" "+r.Header.Get("x-envoy-attempt-count"))
		_, _ = io.WriteString(w, "hello")
	})
	p := proxy(t, to("c"), map[string][]string{"c": {b}})
	for i := range 3 {
		resp, err := http.Get("http://" + p.addr() + "/a?b=c")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if string(body) != "hello" || resp.Header.Get("X-Saw") != p.addr()+" /a?b=c 1" || resp.Header.Get("server") != "envoy" {
			t.Errorf("got %q %v", body, resp.Header)
		}
		if got := p.book.last(t, i+1); got.status != 200 || got.flags != "-" || got.details != "via_upstream" || got.sent != 5 {
			t.Errorf("got %+v", got)
		}
	}
	if n := len(p.reg.Current().Get("c").Hosts()); n != 1 {
		t.Errorf("%d hosts", n)
	}
}
