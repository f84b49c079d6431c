package interop

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	xdscredentials "google.golang.org/grpc/credentials/xds"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/xds"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/ports"
)

// program is a pod whose program has gRPC's xDS client or server, and no proxy.
func program(name, account, ip, app, version string) guest {
	return guest{name: name, namespace: "shop", account: account, ip: ip, labels: map[string]string{"app": app, "version": version, wire.TLSModeLabel: "istio"}}
}

// bootstrap is what such a program finds in GRPC_XDS_BOOTSTRAP; dir is its agent's folder.
func (p *plane) bootstrap(g guest, dir string) []byte {
	p.t.Helper()
	files := map[string]any{"certificate_file": filepath.Join(dir, wire.FileChain), "private_key_file": filepath.Join(dir, wire.FileKey),
		"ca_certificate_file": filepath.Join(dir, wire.FileRoots), "refresh_interval": "1s"}
	_, port, _ := net.SplitHostPort(p.local)
	out, err := json.Marshal(map[string]any{
		"xds_servers": []any{map[string]any{"server_uri": "localhost:" + port, "server_features": []string{"xds_v3"},
			"channel_creds": []any{map[string]any{"type": "tls", "config": files}}}},
		"node":                                   map[string]any{"id": g.node().ID(), "metadata": map[string]any{wire.MetaGenerator: wire.GeneratorGRPC}},
		"certificate_providers":                  map[string]any{wire.ProviderWorkload: map[string]any{"plugin_name": "file_watcher", "config": files}},
		"server_listener_resource_name_template": wire.ServerListenerPrefix + "%s",
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// echo answers health checks with its name, and with who asked. It fails twice for each key in x-fail.
type echo struct {
	health.UnimplementedHealthServer
	name   string
	mu     sync.Mutex
	failed map[string]int
}

func (e *echo) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	asked, _ := metadata.FromIncomingContext(ctx)
	said := metadata.Pairs("x-pod", e.name)
	if who, ok := peer.FromContext(ctx); ok {
		if info, ok := who.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			said.Append("x-peer", info.State.PeerCertificates[0].URIs[0].String())
		}
	}
	if key := strings.Join(asked["x-fail"], ""); key != "" {
		e.mu.Lock()
		e.failed[key]++
		n := e.failed[key]
		e.mu.Unlock()
		if n <= 2 {
			return nil, status.Error(codes.Unavailable, "not yet")
		}
	}
	if len(asked["x-slow"]) > 0 {
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-time.After(5 * time.Second):
		}
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, grpc.SetHeader(ctx, said) // only now: a header would commit the call
}

// serveGRPC runs a program with gRPC's xDS server.
func (p *plane) serveGRPC(g guest) {
	p.t.Helper()
	creds, err := xdscredentials.NewServerCredentials(xdscredentials.ServerOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		p.t.Fatal(err)
	}
	modes := make(chan error, 10)
	s, err := xds.NewGRPCServer(grpc.Creds(creds), xds.BootstrapContentsForTesting(p.bootstrap(g, p.agent(g.namespace, g.name))),
		xds.ServingModeCallback(func(_ net.Addr, args xds.ServingModeChangeArgs) { modes <- args.Err }))
	if err != nil {
		p.t.Fatal(err)
	}
	health.RegisterHealthServer(s, &echo{name: g.name, failed: map[string]int{}})
	l, err := net.Listen("tcp", net.JoinHostPort(g.ip, g.port))
	if err != nil {
		p.t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	p.t.Cleanup(s.Stop)
	select {
	case err := <-modes:
		if err != nil {
			p.t.Fatalf("%s does not serve: %v", g.name, err)
		}
	case <-time.After(settleWithin):
		p.t.Fatalf("%s does not serve", g.name)
	}
}

// dialGRPC is a program with gRPC's xDS client, which calls its server by name.
func (p *plane) dialGRPC(g guest, name string) health.HealthClient {
	p.t.Helper()
	builder, err := xds.NewXDSResolverWithConfigForTesting(p.bootstrap(g, p.agent(g.namespace, g.name)))
	if err != nil {
		p.t.Fatal(err)
	}
	creds, err := xdscredentials.NewClientCredentials(xdscredentials.ClientOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///"+name+":7070", grpc.WithResolvers(builder), grpc.WithTransportCredentials(creds))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return health.NewHealthClient(conn)
}

// call asks once, with header fields in pairs, and returns the code, who answered, and whom that saw.
func call(t *testing.T, c health.HealthClient, fields ...string) (code codes.Code, pod, peer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settleWithin)
	defer cancel()
	var header metadata.MD
	_, err := c.Check(metadata.AppendToOutgoingContext(ctx, fields...), &health.HealthCheckRequest{}, grpc.Header(&header), grpc.WaitForReady(len(fields) == 0))
	return status.Code(err), strings.Join(header["x-pod"], ","), strings.Join(header["x-peer"], ",")
}

const echoHost = "echo.shop.svc.cluster.local"

// proxylessMesh is a mesh of programs without a proxy: its objects, the servers, and two clients, of which the second is a stranger.
func proxylessMesh(t *testing.T) (text string, servers, clients []guest) {
	t.Helper()
	port := ports.Free(t)
	servers = []guest{program("echo-1", "echo", "127.0.1.1", "echo", "v1"), program("echo-2", "echo", "127.0.1.2", "echo", "v2")}
	clients = []guest{program("client-1", "client", "127.0.1.3", "client", "v1"), program("stranger-1", "stranger", "127.0.1.4", "stranger", "v1")}
	text = strings.ReplaceAll(string(load(t, "testdata/grpc.yaml")), "PORT", port)
	for i := range servers {
		servers[i].port = port
	}
	for _, g := range slices.Concat(servers, clients) {
		text += g.yaml()
	}
	return text, servers, clients
}

// TestProxylessGRPC has gRPC's own xDS client and server, without a proxy, do as the mesh says.
func TestProxylessGRPC(t *testing.T) {
	text, servers, clients := proxylessMesh(t)
	p := newPlane(t, []byte(text), nil)
	p.proxyless(t, servers, clients)
	for _, refusal := range p.refusals() {
		t.Error(refusal)
	}
}

// proxyless runs the servers and asks them as both clients.
func (p *plane) proxyless(t *testing.T, servers, clients []guest) {
	t.Helper()
	for _, g := range servers {
		p.serveGRPC(g)
	}
	c := p.dialGRPC(clients[0], echoHost)
	if code, pod, peer := call(t, c); code != codes.OK || pod == "" || peer != "spiffe://cluster.local/ns/shop/sa/client" {
		t.Fatalf("%s from %q, which saw %q", code, pod, peer)
	}
	for _, o := range []struct {
		why    string
		fields []string
		code   codes.Code
		pod    string // "": any
	}{
		{"routed by a header", []string{"x-user", "ann"}, codes.OK, "echo-2"},
		{"aborted", []string{"x-user", "ben"}, codes.DataLoss, ""},
		{"retried", []string{"x-retry", "yes", "x-fail", "a"}, codes.OK, "echo-1"},
		{"not retried", []string{"x-retry", "no", "x-fail", "b"}, codes.Unavailable, ""},
		{"too slow", []string{"x-slow", "yes"}, codes.DeadlineExceeded, ""},
	} {
		if code, pod, _ := call(t, c, o.fields...); code != o.code || o.pod != "" && pod != o.pod {
			t.Errorf("%s: %s from %q, want %s from %q", o.why, code, pod, o.code, o.pod)
		}
	}
	t.Run("shares", func(t *testing.T) {
		const calls = 400
		first := 0
		for range calls {
			if _, pod, _ := call(t, c); pod == "echo-1" {
				first++
			}
		}
		if first < calls*65/100 || first > calls*85/100 {
			t.Errorf("%d of %d calls went to echo-1", first, calls)
		}
	})
	t.Run("names", func(t *testing.T) {
		for _, name := range []string{"echo", "echo.shop", "echo.shop.svc"} {
			if code, pod, _ := call(t, p.dialGRPC(clients[0], name), "x-user", "ann"); code != codes.OK || pod != "echo-2" {
				t.Errorf("%s: %s from %q", name, code, pod)
			}
		}
	})
	t.Run("hashes", func(t *testing.T) { p.sticks(t, clients[0]) })
	t.Run("policies", func(t *testing.T) {
		if code, _, _ := call(t, p.dialGRPC(clients[1], echoHost)); code != codes.PermissionDenied {
			t.Errorf("another account: %s", code)
		}
		watch, err := c.Watch(t.Context(), &health.HealthCheckRequest{})
		if err == nil {
			_, err = watch.Recv()
		}
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("a method that is denied: %v", err)
		}
		plain, err := grpc.NewClient(net.JoinHostPort(servers[0].ip, servers[0].port), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		if code, _, _ := call(t, health.NewHealthClient(plain), "x", "y"); code != codes.Unavailable {
			t.Errorf("a client without a certificate: %s", code)
		}
	})
}

// sticks calls a service whose rule hashes by a header: who says the same goes to the same server, and not all do.
func (p *plane) sticks(t *testing.T, client guest) {
	t.Helper()
	for _, name := range []string{"ring", "table"} {
		c, chosen := p.dialGRPC(client, name+".shop.svc.cluster.local"), map[string]int{}
		for n := range 20 {
			key := "key-" + strconv.Itoa(n)
			_, first, _ := call(t, c, "x-key", key)
			chosen[first]++
			for range 3 {
				if code, pod, _ := call(t, c, "x-key", key); code != codes.OK || pod != first {
					t.Errorf("%s: %s went to %q, then to %q (%s)", name, key, first, pod, code)
				}
			}
		}
		if chosen["echo-1"] == 0 || chosen["echo-2"] == 0 {
			t.Errorf("%s: %v", name, chosen)
		}
	}
}
