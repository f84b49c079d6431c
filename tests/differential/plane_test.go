package differential

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	xds "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
)

// plane is go-control-plane's own ADS server on a unix socket. Both proxies are told the same, but for the ports that they listen on.
type plane struct {
	t      *testing.T
	socket string
	cache  cache.SnapshotCache

	mu      sync.Mutex
	refused []string
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	dir, err := os.MkdirTemp("", "heddle-diff-") // t.TempDir's are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &plane{t: t, socket: filepath.Join(dir, "ads.sock"), cache: cache.NewSnapshotCache(true, byName{}, nil)}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	ads.RegisterAggregatedDiscoveryServiceServer(server, xds.NewServer(t.Context(), p.cache, xds.CallbackFuncs{
		StreamDeltaRequestFunc: func(_ int64, r *ads.DeltaDiscoveryRequest) error {
			p.refuse(r.GetErrorDetail().GetMessage())
			return nil
		},
	}))
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return p
}

func (p *plane) refuse(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != "" {
		p.refused = append(p.refused, why)
	}
}

func (p *plane) refusals() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// byName knows a proxy by the pod that it says it is.
type byName struct{}

// ID implements cache.NodeHash.
func (byName) ID(node *core.Node) string {
	return node.GetMetadata().GetFields()["NAME"].GetStringValue()
}

// push tells a proxy what text means with values filled in.
func (p *plane) push(name, text string, values any) {
	p.t.Helper()
	var filled bytes.Buffer
	if err := template.Must(template.New("mesh").Parse(text)).Execute(&filled, values); err != nil {
		p.t.Fatal(err)
	}
	all := map[resource.Type][]types.Resource{}
	for doc := range strings.SplitSeq(filled.String(), "\n---\n") {
		data, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			p.t.Fatalf("%v\n%s", err, doc)
		}
		var message anypb.Any
		if err := protojson.Unmarshal(data, &message); err != nil {
			p.t.Fatalf("%v\n%s", err, doc)
		}
		m, err := message.UnmarshalNew()
		if err != nil {
			p.t.Fatal(err)
		}
		all[message.GetTypeUrl()] = append(all[message.GetTypeUrl()], m)
	}
	snapshot, err := cache.NewSnapshot("1", all)
	if err == nil {
		err = p.cache.SetSnapshot(p.t.Context(), name, snapshot)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// envoy starts the stock one.
func (p *plane) envoy() {
	p.t.Helper()
	envoy.Start(p.t, envoy.Options{ID: "envoy", Metadata: map[string]any{"NAME": "envoy"}, Discovery: p.socket})
}

// heddle starts ours: the engine, without what makes it a pod's.
func (p *plane) heddle() {
	p.t.Helper()
	log := slog.New(slog.NewTextHandler(testLog{p.t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	workload := identity.New(identity.Options{Roots: identity.NewRoots("none"), Log: log})
	e := engine.New(engine.Options{Gateway: true, Node: discovery.Node{Type: "router", Pod: "heddle", Namespace: "shop", IPs: []string{"127.0.0.1"}}, Identity: workload,
		Dial: func() (*grpc.ClientConn, error) {
			return grpc.NewClient("unix:"+p.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		}, Termination: engine.Termination{Alone: true, Drain: time.Millisecond}, AccessLog: testLog{p.t}, Log: log, Level: &slog.LevelVar{}, Quit: func() {}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, e.AccessLogs(), e.Upstreams(), e.Discovery(), e.Listeners()) }()
	p.t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				p.t.Error(err)
			}
		case <-time.After(patience):
			p.t.Error("heddle-proxy does not end")
		}
	})
}

// testLog fails a test for each warning that the proxy logs.
type testLog struct{ t *testing.T }

// Write implements io.Writer.
func (l testLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic")) {
		l.t.Errorf("heddle-proxy: %s", p)
	}
	return len(p), nil
}
