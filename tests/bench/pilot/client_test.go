package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cluster3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/record"
	"github.com/heddle-mesh/heddle/tests/bench/pilot/stream"
)

// told is a Registry that tells every client the same.
type told struct {
	mu        sync.Mutex
	resources map[string]map[string]*wire.Resource
	clients   map[*listening]bool
	version   int
}

func (m *told) Subscribe(context.Context, discovery.Caller, discovery.Node) (discovery.Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &listening{told: m, changed: make(chan struct{}, 1)}
	m.clients[l] = true
	return l, nil
}

// set changes resources, and tells whoever listens.
func (m *told) set(t testing.TB, typ string, all map[string]proto.Message) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.resources[typ] == nil {
		m.resources[typ] = map[string]*wire.Resource{}
	}
	m.version++
	changes := discovery.Changes{typ: {}}
	for name, message := range all {
		body, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		r := &wire.Resource{Type: typ, Name: name, Version: fmt.Sprint(m.version), Body: body}
		r.Record, r.Body = record.Of(typ, name, r.Version, body)
		m.resources[typ][name], changes[typ][name] = r, true
	}
	for l := range m.clients {
		l.enqueue(changes)
	}
}

func (m *told) All(typ string) []*wire.Resource {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*wire.Resource
	for _, r := range m.resources[typ] {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *wire.Resource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (m *told) Get(_ context.Context, typ, name string) *wire.Resource {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.resources[typ][name]
}

func (m *told) Partial(string) bool                    { return false }
func (m *told) Includes(string, string) bool           { return true }
func (m *told) Needs(string, string) discovery.Changes { return nil }

// listening is one client's Subscription.
type listening struct {
	*told
	changed chan struct{}

	mu      sync.Mutex
	pending discovery.Changes
}

func (l *listening) enqueue(changes discovery.Changes) {
	l.mu.Lock()
	if l.pending == nil {
		l.pending = discovery.Changes{}
	}
	l.pending.Merge(changes)
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *listening) Take() discovery.Changes {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.pending
	l.pending = nil
	return taken
}

func (l *listening) Changed() <-chan struct{}      { return l.changed }
func (l *listening) View() discovery.View          { return l.told }
func (l *listening) Progress() (uint64, uint64)    { return 1, 1 }
func (l *listening) Asked(string, map[string]bool) {}
func (l *listening) Close() {
	l.told.mu.Lock()
	defer l.told.mu.Unlock()
	delete(l.told.clients, l)
}

// counted is what a server sent and received.
type counted struct {
	stats.Handler
	bytes, responses, answers atomic.Int64
}

func (c *counted) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *counted) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *counted) HandleConn(context.Context, stats.ConnStats)                       {}
func (c *counted) HandleRPC(_ context.Context, s stats.RPCStats) {
	if out, ok := s.(*stats.OutPayload); ok {
		c.bytes.Add(int64(out.Length))
		c.responses.Add(1)
	}
}

// listen counts answers: every response is to have one.
func (c *counted) listen(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, serve grpc.StreamHandler) error {
	return serve(srv, &answered{ServerStream: s, counted: c, seen: map[string]bool{}})
}

type answered struct {
	grpc.ServerStream
	*counted
	seen map[string]bool
}

func (a *answered) RecvMsg(m any) error {
	err := a.ServerStream.RecvMsg(m)
	if err != nil {
		return err
	}
	r, ok := m.(proto.Message).ProtoReflect().Interface().(*ads.DeltaDiscoveryRequest)
	if nonce := r.GetTypeUrl() + r.GetResponseNonce(); ok && r.GetResponseNonce() != "" && r.GetErrorDetail() == nil && !a.seen[nonce] {
		a.seen[nonce] = true
		a.answers.Add(1)
	}
	return nil
}

// serving is a server and clients of it.
type serving struct {
	*told
	fleet  *fleet
	server *discovery.Server
}

// serve starts a server of a mesh of services and their endpoints, and makes clients.
func serve(t testing.TB, m mesh, more ...grpc.ServerOption) *serving {
	t.Helper()
	s := &serving{told: &told{resources: map[string]map[string]*wire.Resource{}, clients: map[*listening]bool{}}}
	var err error
	s.server, err = discovery.New(discovery.Options{Registry: s.told, Log: slog.New(slog.DiscardHandler), Meter: noop.Meter{},
		Authenticate: func(_ context.Context, pod string) (discovery.Caller, error) {
			return discovery.Caller{Identity: spiffe.Identity{ServiceAccount: "any"}, Namespace: "bench-0", Pod: pod}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(append(more, discovery.Encoding(), grpc.Creds(credentials.NewServerTLSFromCert(&pair)))...)
	s.server.Register(g)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	s.fleet = &fleet{dialer: stream.Dialer{Address: l.Addr().String(), Method: ads.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName, Window: window},
		mesh: m, expected: m.told(), catalog: newCatalog()}
	for j := range m.proxies {
		s.fleet.clients = append(s.fleet.clients, &client{fleet: s.fleet, number: j, node: "sidecar~10.0.0.1~" + podName(j) + ".bench-0~x",
			tls: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "127.0.0.1"}})
	}
	t.Cleanup(s.fleet.end)
	return s
}

// fill makes clusters of about size bytes, each with endpoints, a listener and its route.
func (s *serving) fill(t testing.TB, size int) {
	t.Helper()
	clusters, endpoints := map[string]proto.Message{}, map[string]proto.Message{}
	for i := range s.fleet.services {
		name := s.fleet.cluster(i)
		clusters[name] = &cluster3.Cluster{Name: name, AltStatName: strings.Repeat("x", size), ClusterDiscoveryType: &cluster3.Cluster_Type{Type: cluster3.Cluster_EDS}}
		endpoints[name] = assignment(name, "10.0.0.1")
	}
	s.set(t, wire.TypeCluster, clusters)
	s.set(t, wire.TypeEndpoints, endpoints)
	manager, err := anypb.New(&hcm.HttpConnectionManager{RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{RouteConfigName: "80"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.set(t, wire.TypeListener, map[string]proto.Message{"all": &listener3.Listener{Name: "all", FilterChains: []*listener3.FilterChain{
		{Filters: []*listener3.Filter{{ConfigType: &listener3.Filter_TypedConfig{TypedConfig: manager}}}}}}})
	s.set(t, wire.TypeRoute, map[string]proto.Message{"80": &route3.RouteConfiguration{Name: "80"}})
}

func assignment(cluster, address string) *endpoint3.ClusterLoadAssignment {
	at := &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: address, PortSpecifier: &core.SocketAddress_PortValue{PortValue: 80}}}}
	return &endpoint3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpoint3.LocalityLbEndpoints{
		{LbEndpoints: []*endpoint3.LbEndpoint{{HostIdentifier: &endpoint3.LbEndpoint_Endpoint{Endpoint: &endpoint3.Endpoint{Address: at}}}}}}}
}

// TestClientsCount holds that clients receive what a server of pilot's sends, to the byte, and answer every response: those of several frames, several
// megabytes and several at once among them.
func TestClientsCount(t *testing.T) {
	var c counted
	s := serve(t, mesh{size: size{300, 5}, namespaces: 3}, grpc.StatsHandler(&c), grpc.StreamInterceptor(c.listen))
	s.fill(t, 20_000)
	if _, err := s.fleet.connect(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	g := s.fleet.expect(need{wire.TypeEndpoints, s.fleet.cluster(7), []byte("10.0.0.99")})
	s.set(t, wire.TypeEndpoints, map[string]proto.Message{s.fleet.cluster(7): assignment(s.fleet.cluster(7), "10.0.0.99")})
	select {
	case <-g.done:
	case <-time.After(time.Minute):
		t.Fatalf("%d clients were not told of a change: %s", g.left.Load(), s.fleet.behind())
	}
	const clusters = 3 // responses of at most 2 MiB
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		sent, answers, responses := c.bytes.Load(), c.answers.Load(), c.responses.Load()
		if sent == s.fleet.received.Load() && answers == responses && responses >= 5*(clusters+4) && s.synced() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes were sent, %d received; %d responses sent, %d answered; all synced: %v", sent, s.fleet.received.Load(), responses, answers, s.synced())
		}
	}
	if lost := s.fleet.lost.Load() + s.fleet.refused.Load(); lost > 0 {
		t.Errorf("%d streams were lost or refused: %s", lost, s.fleet.behind())
	}
}

// synced reports whether the server knows that every client has taken everything.
func (s *serving) synced() bool {
	for _, c := range s.server.Clients() {
		for _, t := range c.Types {
			if !t.Synced() || t.Pending > 0 {
				return false
			}
		}
	}
	return true
}

// BenchmarkPush is one change of endpoints, told to a thousand clients: server and clients together.
func BenchmarkPush(b *testing.B) {
	s := serve(b, mesh{size: size{50, 1000}, namespaces: 3}, grpc.ReadBufferSize(8<<10), grpc.StaticStreamWindowSize(256<<10), grpc.StaticConnWindowSize(256<<10))
	s.fill(b, 100)
	if _, err := s.fleet.connect(b.Context(), 10*time.Minute); err != nil {
		b.Fatal(err)
	}
	name := s.fleet.cluster(7)
	for i := 0; b.Loop(); i++ {
		address := fmt.Sprintf("10.1.%d.%d", i>>8&255, i&255)
		g := s.fleet.expect(need{wire.TypeEndpoints, name, []byte(address)})
		s.set(b, wire.TypeEndpoints, map[string]proto.Message{name: assignment(name, address)})
		<-g.done
	}
	b.StopTimer()
	s.fleet.end()
}
