package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	envoy "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// files is a heddled over a folder.
type files struct {
	t       *testing.T
	dir     string
	address string // of discovery
	web     string // of monitoring
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// start runs heddled until the test ends.
func start(t *testing.T) files {
	t.Helper()
	f := files{t: t, dir: t.TempDir(), address: ports.Address(t), web: ports.Address(t)}
	if err := os.Mkdir(f.path("objects"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.write("objects/shop.yaml", service("web")+pod)
	f.write("tokens", token+" shop web-1\n")
	c, err := parse([]string{"--config-dir", f.path("objects"), "--ca-dir", f.path("ca"), "--token-file", f.path("tokens"), "--discovery-address", f.address,
		"--monitoring-address", f.web, "--health-address", ports.Address(t), "--serving-names", "localhost,mesh.example.com", "--log-level", "error"}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, c) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

var token = strings.Repeat("t", 32)

func service(name string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop}\nspec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{name: http, port: 80}]}\n---\n"
}

const pod = `apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, uid: u1, labels: {app: web}, annotations: {sidecar.heddle.io/status: injected}}
spec: {serviceAccountName: web, containers: [{name: app}]}
status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}]}
`

// workload is a pod's identity, by a token.
func (f files) workload(token string) (*identity.Workload, identity.ControlPlane) {
	f.t.Helper()
	f.write("token", token)
	roots := identity.NewRoots(f.path("ca/" + wire.RootConfigMapKey))
	plane := identity.ControlPlane{Address: f.address, TokenPath: f.path("token"), Roots: roots}
	_, port, _ := net.SplitHostPort(f.address)
	plane.Address = "localhost:" + port // a name that it was told to serve
	id := spiffe.Identity{TrustDomain: wire.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "web"}
	w := identity.New(identity.Options{Expected: id, TTL: time.Hour, Authority: identity.RemoteAuthority{ControlPlane: plane}, Roots: roots, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	f.t.Cleanup(func() { stop(); <-done })
	plane.Certificate = w.Certificate
	return w, plane
}

// TestFiles holds that a folder is a mesh: who proves itself by a token gets a certificate, is told what the folder says, and what it says later.
func TestFiles(t *testing.T) {
	f := start(t)
	w, plane := f.workload(token)
	select {
	case <-w.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("no certificate")
	}
	conn, err := plane.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := ads.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node := &envoy.Node{Id: "sidecar~10.1.0.1~web-1.shop~shop.svc.cluster.local", Metadata: &structpb.Struct{}}
	if err := stream.Send(&ads.DiscoveryRequest{Node: node, TypeUrl: wire.TypeCluster}); err != nil {
		t.Fatal(err)
	}
	told := func(name string) bool {
		t.Helper()
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&ads.DiscoveryRequest{TypeUrl: wire.TypeCluster, ResponseNonce: answer.Nonce, VersionInfo: answer.VersionInfo}); err != nil {
			t.Fatal(err)
		}
		for _, r := range answer.Resources {
			if strings.Contains(string(r.Value), name) {
				return true
			}
		}
		return false
	}
	if !told("outbound|80||web.shop.svc.cluster.local") {
		t.Error("the service is not told of")
	}
	f.write("objects/more.yaml", service("cache"))
	if !told("outbound|80||cache.shop.svc.cluster.local") {
		t.Error("a service that came later is not told of")
	}
}

// TestFilesTrustNobodyElse holds that a token which is not in the file gets nothing.
func TestFilesTrustNobodyElse(t *testing.T) {
	f := start(t)
	w, plane := f.workload(strings.Repeat("x", 32))
	select {
	case <-w.Ready():
		t.Error("it has a certificate")
	case <-time.After(2 * time.Second):
	}
	conn, err := plane.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := ads.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&ads.DiscoveryRequest{Node: &envoy.Node{Id: "sidecar~10.1.0.1~web-1.shop~shop.svc.cluster.local"}, TypeUrl: wire.TypeCluster})
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("it is answered %v", err)
	}
}

// TestProfiles holds that go tool pprof is answered, beside the rest of /debug/.
func TestProfiles(t *testing.T) {
	f := start(t)
	deadline := time.Now().Add(30 * time.Second)
	for path, want := range map[string]string{"/debug/pprof/heap?debug=1": "heap profile", "/metrics": "heddle"} {
		for {
			text, err := get("http://" + f.web + path)
			if err == nil && strings.Contains(text, want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v, %.100q", path, err, text)
			}
			time.Sleep(20 * time.Millisecond) // it may not listen yet
		}
	}
}

func get(url string) (string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func TestFilesNeedARootAndProofs(t *testing.T) {
	none := func(string) string { return "" }
	for _, args := range [][]string{{"--config-dir=x"}, {"--config-dir=x", "--ca-dir=y"}, {"--config-dir=x", "--token-file=y"}} {
		if _, err := parse(args, none); err == nil {
			t.Errorf("%v is enough", args)
		}
	}
}
