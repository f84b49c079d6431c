package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/ports"
)

// fake is a Proxy.
type fake struct {
	notReady        error
	drained, quited atomic.Int32
}

func (f *fake) Ready() error { return f.notReady }

func (f *fake) Resources(kind string) (any, error) { return map[string]string{"kind": kind}, nil }

func (f *fake) ConfigDump(q DumpQuery) (any, error) {
	if q.Resource == "nothing" {
		return nil, nil
	}
	return map[string]any{"configs": q}, nil
}

func (f *fake) Clusters() any { return []string{"c"} }

func (f *fake) Listeners() any { return []string{"l"} }

func (f *fake) Certificates() any { return map[string]string{"serial": "1"} }

func (f *fake) Discovery() any { return map[string]bool{"connected": true} }

func (f *fake) Drain() { f.drained.Add(1) }

func (f *fake) Quit() { f.quited.Add(1) }

func options(p *fake) Options {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "own_total"})
	registry.MustRegister(counter)
	return Options{Proxy: p, Metrics: registry, Level: &slog.LevelVar{}, Log: slog.New(slog.DiscardHandler)}
}

// ask sends one request to h, from remote.
func ask(h http.Handler, method, path, remote string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	if remote != "" {
		r.RemoteAddr = remote
	}
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestAdmin(t *testing.T) {
	p := &fake{}
	o := options(p)
	h := Handler(o)
	for path, want := range map[string]string{
		"/config_dump?type=Listener": `"kind": "Listener"`, "/clusters": `"c"`,
		"/config_dump": `"configs": {`, "/config_dump?include_eds": `"Endpoints": true`, "/config_dump?resource=dynamic_listeners": `"dynamic_listeners"`,
		"/listeners": `"l"`, "/certs": `"serial"`,
		"/discovery": `"connected": true`, "/stats": "own_total 0", "/stats/prometheus": "own_total 0", "/ready": "LIVE", "/logging": "INFO",
	} {
		if status, body := ask(h, "GET", path, ""); status != 200 || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d %s", path, status, body)
		}
	}
	for path, want := range map[string]int{"/config_dump?resource=nothing": http.StatusNotFound, "/config_dump?mask=a": http.StatusBadRequest} {
		if status, body := ask(h, "GET", path, ""); status != want {
			t.Errorf("GET %s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/drain", "/quitquitquit"} {
		if status, _ := ask(h, "GET", path, ""); status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", path, status)
		}
		if status, _ := ask(h, "POST", path, ""); status != 200 {
			t.Errorf("POST %s: %d", path, status)
		}
	}
	if p.drained.Load() != 1 || p.quited.Load() != 1 {
		t.Errorf("drained %d times, ended %d times", p.drained.Load(), p.quited.Load())
	}
	if status, _ := ask(h, "POST", "/logging?level=loud", ""); status != 400 {
		t.Errorf("an unknown level: %d", status)
	}
	if ask(h, "POST", "/logging?level=debug", ""); o.Level.Level() != slog.LevelDebug {
		t.Error("the level did not change")
	}
}

func TestReadiness(t *testing.T) {
	p := &fake{notReady: errors.New("no certificate")}
	if status, body := ask(Ready(p), "GET", "/healthz/ready", ""); status != 503 || !strings.Contains(body, "no certificate") {
		t.Errorf("%d %s", status, body)
	}
	p.notReady = nil
	if status, _ := ask(Ready(p), "GET", "/healthz/ready", ""); status != 200 {
		t.Errorf("%d", status)
	}
	if status, _ := ask(Ready(p), "GET", "/config_dump", ""); status != 404 {
		t.Errorf("the readiness port serves the configuration: %d", status)
	}
}

// TestStatusServesOthersLittle holds what other pods get: metrics, readiness, registered probes, nothing else.
func TestStatusServesOthersLittle(t *testing.T) {
	p := &fake{}
	h := Status(options(p), App{Address: "127.0.0.1", Probes: map[string]wire.AppProbe{"/app-health/app/livez": {TCPSocket: &wire.AppTCPProbe{Port: 1}}}})
	for request, want := range map[string]int{
		"GET /stats/prometheus": 200, "GET /healthz/ready": 200, "GET /app-health/app/livez": 503, "GET /app-health/app/readyz": 404,
		"GET /app-health/": 404, "GET /config_dump": 404, "GET /certs": 404, "POST /drain": 404, "POST /logging?level=debug": 404,
		"POST /quitquitquit": 403, "GET /quitquitquit": 405,
	} {
		method, path, _ := strings.Cut(request, " ")
		if status, _ := ask(h, method, path, "10.0.0.9:4000"); status != want {
			t.Errorf("%s from another pod: %d, want %d", request, status, want)
		}
	}
	if p.quited.Load() != 0 {
		t.Error("another pod ended the proxy")
	}
	for _, from := range []string{"127.0.0.1:4000", "[::1]:4000", "[::ffff:127.0.0.1]:4000"} {
		if status, _ := ask(h, "POST", "/quitquitquit", from); status != 200 {
			t.Errorf("from %s: %d", from, status)
		}
	}
}

func TestMergesTheApplicationsMetrics(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || !strings.Contains(r.Header.Get("Accept"), "text/plain") {
			w.WriteHeader(404)
			return
		}
		io.WriteString(w, "app_total 7\n")
	}))
	defer app.Close()
	h := Status(options(&fake{}), App{Prometheus: &wire.AppPrometheus{Port: port(t, app.Listener), Path: "metrics"}})
	status, body := ask(h, "GET", "/stats/prometheus", "")
	if status != 200 || !strings.Contains(body, "own_total 0\n") || !strings.HasSuffix(body, "app_total 7\n") {
		t.Errorf("%d\n%s", status, body)
	}
	app.Close()
	status, body = ask(h, "GET", "/stats/prometheus", "")
	if status != 200 || !strings.Contains(body, "own_total 0\n") {
		t.Errorf("without the application: %d\n%s", status, body)
	}
}

func port(t *testing.T, l net.Listener) int32 {
	t.Helper()
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func TestProbes(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			if r.Host != "app.example" || r.Header.Get("X-Probe") != "1" || r.Header.Get("User-Agent") != "kube-probe/1.37" {
				w.WriteHeader(418)
				return
			}
			io.WriteString(w, "fine")
		case "/inside":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/outside":
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		default:
			w.WriteHeader(500)
		}
	}))
	defer app.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }))
	defer secure.Close()
	services, healthy := grpcServer(t)
	at, gone := port(t, app.Listener), closedPort(t)
	get := func(p int32, path string) wire.AppProbe {
		return wire.AppProbe{HTTPGet: &wire.AppHTTPProbe{Port: p, Path: path}}
	}
	good := get(at, "/ok")
	good.HTTPGet.Headers = []wire.AppHeader{{Name: "Host", Value: "app.example"}, {Name: "X-Probe", Value: "1"}}
	probes := map[string]struct {
		probe wire.AppProbe
		want  int
	}{
		"http":                {good, 200},
		"http-failing":        {get(at, "bad"), 500},
		"http-redirect":       {get(at, "/inside"), 500},
		"http-redirect-away":  {get(at, "/outside"), 200},
		"http-slow":           {get(at, "/slow"), 503},
		"http-gone":           {get(gone, "/ok"), 503},
		"https":               {wire.AppProbe{HTTPGet: &wire.AppHTTPProbe{Port: port(t, secure.Listener), Scheme: "HTTPS"}}, 200},
		"tcp":                 {wire.AppProbe{TCPSocket: &wire.AppTCPProbe{Port: at}}, 200},
		"tcp-gone":            {wire.AppProbe{TCPSocket: &wire.AppTCPProbe{Port: gone}}, 503},
		"grpc":                {wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: services}}, 200},
		"grpc-named":          {wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: services, Service: "shop"}}, 200},
		"grpc-not-serving":    {wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: services, Service: "broken"}}, 503},
		"grpc-unknown":        {wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: services, Service: "nobody"}}, 503},
		"grpc-gone":           {wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: gone}}, 503},
		"grpc-at-http-server": {wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: at}}, 503},
	}
	healthy.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	healthy.SetServingStatus("broken", healthpb.HealthCheckResponse_NOT_SERVING)
	registered := map[string]wire.AppProbe{}
	for name, c := range probes {
		registered["/app-health/"+name+"/livez"] = c.probe
	}
	server := httptest.NewServer(Status(options(&fake{}), App{Address: "127.0.0.1", Probes: registered}))
	defer server.Close()
	for name, c := range probes {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequest("GET", server.URL+"/app-health/"+name+"/livez", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("User-Agent", "kube-probe/1.37")
			start := time.Now()
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != c.want {
				t.Errorf("%d %s", response.StatusCode, body)
			}
			if time.Since(start) > 3*time.Second {
				t.Error("the probe's time limit does not hold")
			}
		})
	}
}

func closedPort(t *testing.T) int32 {
	t.Helper()
	n, err := strconv.ParseInt(ports.Free(t), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func grpcServer(t *testing.T) (int32, *health.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, healthy := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, healthy)
	go server.Serve(l) // ends with Stop
	t.Cleanup(server.Stop)
	return port(t, l), healthy
}

func TestProbesComeFromTheAddressThatCaptureLetsPass(t *testing.T) {
	from := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { from <- r.RemoteAddr }))
	defer app.Close()
	h := Status(options(&fake{}), App{Address: "127.0.0.1", Probes: map[string]wire.AppProbe{"/app-health/a/livez": {HTTPGet: &wire.AppHTTPProbe{Port: port(t, app.Listener)}}}})
	if status, body := ask(h, "GET", "/app-health/a/livez", ""); status != 200 {
		t.Fatal(status, body)
	}
	if got := <-from; !strings.HasPrefix(got, wire.InboundSourceV4+":") {
		t.Errorf("came from %s", got)
	}
}

func TestServeEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- ServeOn(ctx, l, http.NotFoundHandler()) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := Serve(t.Context(), net.Listen, "256.0.0.1:1", http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), "serving on") {
		t.Errorf("an address that is none: %v", err)
	}
}
