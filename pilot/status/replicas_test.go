package status_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.opentelemetry.io/otel/metric/noop"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/distribution"
	"github.com/heddle-mesh/heddle/pilot/publish"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/status"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

const shop = `
apiVersion: v1
kind: Service
metadata: {name: catalog, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80, name: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, uid: "1", annotations: {sidecar.heddle.io/status: injected}}
spec: {serviceAccountName: default}
status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, uid: "2", annotations: {sidecar.heddle.io/status: injected}}
spec: {serviceAccountName: default}
status: {phase: Running, podIP: 10.1.0.2, podIPs: [{ip: 10.1.0.2}]}
---
`

func rule(generation int, balancer string) string {
	return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: shop, generation: %d}\n"+
		"spec: {host: catalog, trafficPolicy: {loadBalancer: {simple: %s}}}\n", generation, balancer)
}

// plane is a replica of the control plane, from objects to streams.
type plane struct {
	publisher *publish.Publisher
	server    *discovery.Server
	tracker   *distribution.Tracker
	exchange  *status.Exchange
	latest    report.Report
	listener  *bufconn.Listener
}

func newPlane(t *testing.T, kube kubernetes.Interface, name string) *plane {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	p := &plane{listener: bufconn.Listen(1 << 20)}
	var err error
	if p.publisher, err = publish.New(publish.Options{Log: log, Meter: noop.Meter{}, PodWait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	p.server, err = discovery.New(discovery.Options{Registry: p.publisher, Log: log, Meter: noop.Meter{},
		Authenticate: func(_ context.Context, pod string) (discovery.Caller, error) {
			id := spiffe.Identity{TrustDomain: wire.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "default"}
			return discovery.Caller{Identity: id, Namespace: "shop", Pod: pod}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	p.tracker = distribution.NewTracker(p.server.Progress)
	p.exchange = status.NewExchange(kube, wire.SystemNamespace, name, p.tracker, log)
	g := grpc.NewServer(discovery.Encoding())
	p.server.Register(g)
	go func() { _ = g.Serve(p.listener) }()
	for _, run := range []func(context.Context) error{p.publisher.Run, p.exchange.Run} {
		ended := make(chan struct{})
		go func() { _ = run(t.Context()); close(ended) }()
		t.Cleanup(func() { <-ended })
	}
	t.Cleanup(g.Stop)
	return p
}

// show has the replica read objects.
func (p *plane) show(t *testing.T, objects string) {
	t.Helper()
	in, err := source.FromYAML([]byte(objects))
	if err != nil {
		t.Fatal(err)
	}
	snapshot, rep := translate.Translate(in, nil)
	endpoints, workloads := translate.Endpoints(in, nil)
	p.publisher.SetWorkloads(workloads)
	p.publisher.SetEndpoints(endpoints)
	p.tracker.Observe(p.publisher.SetSnapshot(snapshot), rep)
	p.latest = rep
}

// proxy connects one that refuses clusters for as long as it is told to.
func (p *plane) proxy(t *testing.T, pod string, refuses *atomic.Bool) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///plane", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := ads.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node := &core.Node{Id: "sidecar~10.1.0.1~" + pod + ".shop~shop.svc.cluster.local",
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{wire.MetaDialect: structpb.NewStringValue("1")}}}
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener} {
		if err := stream.Send(&ads.DeltaDiscoveryRequest{Node: node, TypeUrl: typ, ResourceNamesSubscribe: []string{"*"}}); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			answer := &ads.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
			if r.TypeUrl == wire.TypeCluster && refuses.Load() {
				answer.ErrorDetail = &rpcstatus.Status{Message: r.Resources[0].GetName() + ": lb_policy: not implemented"}
			}
			if stream.Send(answer) != nil {
				return
			}
		}
	}()
}

// told waits until the leader's sum says something of the rule.
func told(t *testing.T, leader *plane, want string) {
	t.Helper()
	e := leader.latest.Find(report.Ref{Group: "networking.istio.io", Kind: "DestinationRule", Namespace: "shop", Name: "r"})
	if e == nil {
		t.Fatalf("there is no such rule: %v", leader.latest.Entries)
	}
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		sum, err := leader.exchange.Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a, _ := sum.Of(e)
		if got = fmt.Sprintf("%d of %d", a.Acked, a.Proxies); len(a.Refused) > 0 {
			got += fmt.Sprintf(", not %s: %s", a.Refused[0].Proxy, a.Refused[0].Reason)
		}
		if got == want {
			return
		}
	}
	t.Errorf("generation %d: %s, want %s", e.Generation, got, want)
}

// TestARefusalReachesTheLeader has a proxy of one replica refuse what an object's new generation made of its configuration, and the other replica,
// which leads, told of it.
func TestARefusalReachesTheLeader(t *testing.T) {
	kube := fake.NewClientset()
	leader, other := newPlane(t, kube, "h1"), newPlane(t, kube, "h2")
	both := func(objects string) {
		leader.show(t, objects)
		other.show(t, objects)
	}
	go func() {
		_ = leader.exchange.Lead(func(ctx context.Context) error { <-ctx.Done(); return nil })(t.Context())
	}()
	both(shop + rule(1, "RANDOM"))
	var fine, refuses atomic.Bool
	leader.proxy(t, "web", &fine)
	other.proxy(t, "db", &refuses)
	told(t, leader, "2 of 2")
	refuses.Store(true)
	both(shop + rule(2, "ROUND_ROBIN"))
	told(t, leader, "1 of 2, not db.shop: Cluster: outbound|80||catalog.shop.svc.cluster.local: lb_policy: not implemented")
	refuses.Store(false)
	both(shop + rule(3, "LEAST_REQUEST"))
	told(t, leader, "2 of 2")
	if clients := other.server.Clients(); len(clients) != 1 || strings.Contains(clients[0].Types[wire.TypeCluster].Error, "not") {
		t.Errorf("what was mended is still refused: %+v", clients)
	}
}
