package upstream_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/http1"
	"github.com/heddle-mesh/heddle/sidecar/http2"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/check"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// checked runs a cluster whose hosts are checked every few milliseconds.
func checked(t *testing.T, c check.Config, addresses ...string) *upstream.Cluster {
	t.Helper()
	c.Timeout, c.FitAfter, c.UnfitAfter, c.Reuse = time.Second, 2, 2, true
	for _, d := range []*time.Duration{&c.Interval, &c.NoTraffic, &c.NoTrafficFit, &c.UnfitInterval, &c.UnfitEdge, &c.FitEdge} {
		*d = 5 * time.Millisecond
	}
	cfg := &upstream.Config{Info: exchange.ClusterInfo{Name: "c"}, Discovery: upstream.Static, Health: &c, ConnectTimeout: 2 * time.Second,
		Outlier: &outlier.Config{Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: 100}}
	for _, a := range addresses {
		cfg.Endpoints = append(cfg.Endpoints, &exchange.Endpoint{Address: netip.MustParseAddrPort(a), Weight: 1})
	}
	r := upstream.NewRegistry(upstream.Options{HTTP1: http1.NewTransport, HTTP2: http2.NewCodec(http2.CodecOptions{}).Transport})
	set := r.Apply(map[string]*upstream.Config{"c": cfg}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return set.Get("c")
}

// becomes waits until a cluster's only host is fit, or is not.
func becomes(t *testing.T, c *upstream.Cluster, fit bool) {
	t.Helper()
	for range 400 {
		if c.Hosts()[0].Fit() == fit {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("fit never becomes %v", fit)
}

func TestHTTPChecks(t *testing.T) {
	var status, connections, asked atomic.Int32
	status.Store(204)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != "HEAD" || r.URL.Path != "/live" || r.Host != "shop" || r.Header.Get("X-Check") != "yes" || r.UserAgent() != "Envoy/HC" {
			w.WriteHeader(500)
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := checked(t, check.Config{Kind: check.HTTP, Method: "HEAD", Path: "/live", Authority: "shop", Headers: [][2]string{{"x-check", "yes"}},
		Expected: []check.StatusRange{{From: 200, To: 300}}, Retriable: []check.StatusRange{{From: 503, To: 504}}}, s.Listener.Addr().String())
	becomes(t, c, true)
	status.Store(503)
	becomes(t, c, false)
	if _, o := c.Pick(netip.AddrPort{}, nil, 1); o != exchange.NoHealthyUpstream {
		t.Errorf("a sick host is picked: %v", o)
	}
	status.Store(200)
	becomes(t, c, true)
	status.Store(404)
	becomes(t, c, false)
	if n := connections.Load(); n != 1 || asked.Load() < 6 {
		t.Errorf("%d checks on %d connections", asked.Load(), n)
	}
}

// A host that outlier detection has taken out is back with the next check that it passes.
func TestChecksPardon(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	c := checked(t, check.Config{Method: "GET", Path: "/", Expected: []check.StatusRange{{From: 200, To: 201}}}, s.Listener.Addr().String())
	becomes(t, c, true)
	seen := false
	for range 50 {
		c.Hosts()[0].Report(outlier.Server)
		seen = seen || c.Hosts()[0].Ejected() // unless a check was faster
		becomes(t, c, true)                   // though the ejection is for an hour
	}
	if !seen {
		t.Error("nobody was ejected")
	}
}

// TestFirstChecksAreAwaited: a request that comes before the first checks have ended waits for them; where they find nobody, it does not go on
// waiting.
func TestFirstChecksAreAwaited(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) }))
	defer s.Close()
	get := check.Config{Method: "GET", Path: "/", Expected: []check.StatusRange{{From: 200, To: 201}}}
	c := checked(t, get, s.Listener.Addr().String())
	if _, o := c.Pick(netip.AddrPort{}, nil, 1); o != exchange.OK {
		t.Errorf("got %v", o)
	}
	begun := time.Now()
	c = checked(t, get, "127.0.0.1:1")
	if _, o := c.Pick(netip.AddrPort{}, nil, 1); o != exchange.NoHealthyUpstream || time.Since(begun) > time.Second {
		t.Errorf("got %v after %v", o, time.Since(begun))
	}
}

func TestTCPChecks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var says atomic.Pointer[string]
	pong, other := "+ok, PONG\r\n", "-busy\r\n"
	says.Store(&pong)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for buf := make([]byte, 6); ; {
					if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "PING\r\n" {
						return
					}
					_, _ = io.WriteString(c, *says.Load())
				}
			}()
		}
	}()
	at := l.Addr().String()
	c := checked(t, check.Config{Kind: check.TCP, Send: []byte("PING\r\n"), Receive: [][]byte{[]byte("+ok"), []byte("PONG")}}, at)
	becomes(t, c, true)
	says.Store(&other)
	time.Sleep(20 * time.Millisecond)
	_ = l.Close()
	becomes(t, c, false)

	l, err = net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	c = checked(t, check.Config{Kind: check.TCP}, at)
	becomes(t, c, true)
	_ = l.Close()
	becomes(t, c, false)
}

func TestGRPCChecks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, state := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, state)
	go server.Serve(l) //nolint:errcheck // ends with Stop
	defer server.Stop()
	state.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_SERVING)
	c := checked(t, check.Config{Kind: check.GRPC, Service: "shop"}, l.Addr().String())
	becomes(t, c, true)
	state.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	becomes(t, c, false)
	state.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_SERVING)
	becomes(t, c, true)
	unknown := checked(t, check.Config{Kind: check.GRPC, Service: strings.Repeat("x", 300)}, l.Addr().String())
	time.Sleep(50 * time.Millisecond)
	becomes(t, unknown, false)
}
