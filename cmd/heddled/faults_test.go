package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// patience is how long anything is waited for: informers that failed wait up to half a minute before they try again.
const patience = 90 * time.Second

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// replicated is two heddleds of one API server, and proxies that reach them by one address.
type replicated struct {
	t        *testing.T
	api      *apiserver
	dir      string
	replicas []*heddled
	stop     []func()
	way      *relay
	workload *identity.Workload
	plane    identity.ControlPlane
}

// slice is the pod behind the Service web.
const slice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: web-1, namespace: shop}}]
`

// startReplicas runs two until the test ends.
func startReplicas(t *testing.T) *replicated {
	return startReplicasBy(t, func(api string) string { return api })
}

// startReplicasBy is startReplicas where each has a way of its own to the API server.
func startReplicasBy(t *testing.T, way func(api string) string) *replicated {
	t.Helper()
	x := &replicated{t: t, api: newAPI(t), dir: t.TempDir()}
	x.api.apply(service("web") + slice)
	for _, name := range []string{"heddled-1", "heddled-2"} {
		x.write(name, fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"http://%s"}}]}`, way(x.api.address)))
		c, err := parse([]string{"--kubeconfig", x.path(name), "--proxy-image", "proxy", "--discovery-address", ports.Address(t), "--monitoring-address", ports.Address(t),
			"--health-address", ports.Address(t), "--webhook-address", ports.Address(t), "--log-level", "error"}, func(key string) string { return map[string]string{wire.EnvPodName: name}[key] })
		if err != nil {
			t.Fatal(err)
		}
		h, err := assemble(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		x.replicas = append(x.replicas, h)
	}
	for _, h := range x.replicas {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- lifecycle.Run(ctx, h.components()...) }()
		x.stop = append(x.stop, sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}))
		t.Cleanup(x.stop[len(x.stop)-1])
	}
	x.way = newRelay(t, x.replicas[0].config.serve.discovery)
	x.prove()
	return x
}

func (x *replicated) path(name string) string { return filepath.Join(x.dir, name) }

func (x *replicated) write(name, text string) {
	x.t.Helper()
	if err := os.WriteFile(x.path(name), []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
}

// prove gets the pod its certificate, as its proxy does: the root from the ConfigMap that the leader publishes, the certificate for a token.
func (x *replicated) prove() {
	x.t.Helper()
	eventually(x.t, "the root is published", func() bool {
		data, _ := x.api.find("/v1/configmaps", "shop/"+wire.RootConfigMap)["data"].(map[string]any)
		root, _ := data[wire.RootConfigMapKey].(string)
		if root != "" {
			x.write("root.pem", root)
		}
		return root != ""
	})
	x.write("token", "shop~web~web-1~u1")
	roots := identity.NewRoots(x.path("root.pem"))
	x.plane = identity.ControlPlane{Address: x.way.address, TokenPath: x.path("token"), Roots: roots}
	x.workload = identity.New(identity.Options{Expected: spiffe.Identity{TrustDomain: wire.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "web"}, TTL: time.Hour,
		Authority: identity.RemoteAuthority{ControlPlane: x.plane}, Roots: roots, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.workload.Run(ctx) }()
	x.t.Cleanup(func() { stop(); <-done })
	select {
	case <-x.workload.Ready():
	case <-time.After(patience):
		x.t.Fatal("no certificate")
	}
	x.plane.Certificate = x.workload.Certificate
}

// relay is the Service of the control plane: connections go to one replica, until they are cut.
type relay struct {
	address string

	mu     sync.Mutex
	target string
	open   []net.Conn
	silent map[net.Conn]bool
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", ports.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String(), target: target, silent: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = l.Close(); r.redirect("") })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go r.carry(from)
		}
	}()
	return r
}

func (r *relay) carry(from net.Conn) {
	defer from.Close()
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	r.mu.Lock()
	r.open = append(r.open, from, to)
	r.mu.Unlock()
	go func() { _, _ = io.Copy(spoken{to, r}, from); _ = to.Close() }()
	_, _ = io.Copy(spoken{from, r}, to)
}

// spoken is a connection of the relay that what is written to is lost for once it is silent.
type spoken struct {
	net.Conn
	relay *relay
}

func (s spoken) Write(data []byte) (int, error) {
	s.relay.mu.Lock()
	silent := s.relay.silent[s.Conn]
	s.relay.mu.Unlock()
	if silent {
		return len(data), nil
	}
	return s.Conn.Write(data)
}

// silence loses every byte that open connections carry from now on, as a network does that drops their packets; those that follow go elsewhere.
func (r *relay) silence(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	for _, c := range r.open {
		r.silent[c] = true
	}
}

// redirect cuts every connection, as a node that dies does, and sends those that follow elsewhere.
func (r *relay) redirect(target string) {
	r.mu.Lock()
	open := r.open
	r.target, r.open = target, nil
	r.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// proxy is a proxy's end of discovery, that keeps what it is told.
type proxy struct {
	dials atomic.Int32

	mu   sync.Mutex
	held map[string]map[string]string // by type and name: version and content
	gone map[string]bool              // that were taken away
	saw  func(discovery.Update)
}

// connect has a proxy of the pod connected until the test ends.
func (x *replicated) connect() *proxy {
	p, _ := x.connectAs(x.node(), x.plane)
	return p
}

// node is what the pod's proxy says of itself.
func (*replicated) node() discovery.Node {
	return discovery.Node{Type: wire.NodeSidecar, IPs: []string{"10.1.0.1"}, Pod: "web-1", Namespace: "shop",
		ServiceAccount: "web", ClusterID: wire.DefaultClusterID, ClusterDomain: wire.DefaultClusterDomain}
}

// connectAs has a proxy connected until it is ended, or the test ends.
func (x *replicated) connectAs(node discovery.Node, plane identity.ControlPlane) (p *proxy, end func()) {
	p = &proxy{held: map[string]map[string]string{}, gone: map[string]bool{}}
	client := discovery.New(discovery.Options{Sink: p, Log: slog.New(slog.DiscardHandler), Node: node, Dial: func() (*grpc.ClientConn, error) {
		p.dials.Add(1)
		return plane.Dial()
	}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	end = sync.OnceFunc(func() { stop(); <-done })
	x.t.Cleanup(end)
	return p, end
}

// Apply implements discovery.Sink.
func (p *proxy) Apply(u discovery.Update) map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[u.Type] == nil {
		p.held[u.Type] = map[string]string{}
	}
	for _, r := range u.Changed {
		p.held[u.Type][r.Name] = r.Version + " " + string(r.Body)
	}
	for _, name := range u.Removed {
		p.gone[name] = p.gone[name] || p.held[u.Type][name] != ""
		delete(p.held[u.Type], name)
	}
	if p.saw != nil {
		p.saw(u)
	}
	return nil
}

// Wanted implements discovery.Sink.
func (p *proxy) Wanted(typ string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch typ {
	case wire.TypeEndpoints:
		return slices.DeleteFunc(slices.Sorted(maps.Keys(p.held[wire.TypeCluster])), func(name string) bool { return !strings.HasPrefix(name, "outbound|") })
	case wire.TypeRoute:
		return []string{"80"}
	}
	return nil
}

// Commit implements discovery.Sink.
func (p *proxy) Commit() {}

func clusterOf(name string) string { return "outbound|80||" + name + ".shop.svc.cluster.local" }

// has reports whether the proxy holds the cluster of a Service.
func (p *proxy) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[wire.TypeCluster][clusterOf(name)] != ""
}

// lost reports whether a Service's cluster was ever taken away.
func (p *proxy) lost(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone[clusterOf(name)]
}

// same reports whether two proxies hold the same.
func (p *proxy) same(o *proxy) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute, wire.TypeEndpoints} {
		if len(p.held[typ]) == 0 || !maps.Equal(p.held[typ], o.held[typ]) {
			return false
		}
	}
	return true
}

// TestFaults runs two heddleds over an API server that speaks the real protocol, and fails it and them.
func TestFaults(t *testing.T) {
	x := startReplicas(t)
	p := x.connect()
	eventually(t, "the proxy is told of the mesh", func() bool { return p.has("web") })
	lasting := func() bool { return x.api.watchedFor() > 2*time.Second }
	t.Run("watches are reset", func(t *testing.T) {
		eventually(t, "a watch that lasts", lasting)
		x.api.resetWatches()
		x.api.apply(service("after-reset"))
		eventually(t, "a Service that came after the watches were reset", func() bool { return p.has("after-reset") })
	})
	t.Run("watches are too old", func(t *testing.T) {
		eventually(t, "a watch that lasts", lasting)
		x.api.forget(service("after-410"), "shop/after-reset")
		eventually(t, "what changed meanwhile", func() bool { return p.has("after-410") && !p.has("after-reset") })
		x.api.mu.Lock()
		defer x.api.mu.Unlock()
		if x.api.expired["services"] == 0 {
			t.Error("no watch was too old")
		}
	})
	t.Run("the API server is away and comes back", func(t *testing.T) {
		x.api.down()
		x.api.apply(service("while-away"))
		x.api.remove("/v1/services", "shop/after-410")
		late := x.connect() // its pod is known, and its certificate is its proof
		eventually(t, "a proxy that connects meanwhile is told what is known", func() bool { return late.has("web") && late.has("after-410") && late.same(p) })
		if late.has("while-away") || p.lost("after-410") {
			t.Error("somebody knows what the API server does not tell")
		}
		x.api.up()
		for _, q := range []*proxy{p, late} {
			eventually(t, "what changed meanwhile", func() bool { return q.has("while-away") && !q.has("after-410") })
			if n := q.dials.Load(); n != 1 {
				t.Errorf("a proxy dialled %d times: its stream was cut", n)
			}
		}
	})
	t.Run("settings are followed", func(t *testing.T) {
		for _, says := range []bool{true, false} {
			x.api.apply(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: heddle, namespace: heddle-system}\ndata: {mesh: '', strictHostOwnership: '%t'}\n", says))
			for _, h := range x.replicas {
				eventually(t, "a setting that changed", func() bool { return h.pilot.snapshot.Load().Mesh.StrictHosts == says })
			}
		}
	})
	t.Run("packets of a stream vanish", func(t *testing.T) {
		const bound = 30 * time.Second // as pilot/README.md says
		before, since := p.dials.Load(), time.Now()
		x.way.silence(x.replicas[1].config.serve.discovery)
		x.api.apply(service("while-silent"))
		eventually(t, "the other replica's configuration", func() bool { return p.has("while-silent") })
		if left := time.Since(since); left > bound {
			t.Errorf("it was with the other after %v", left)
		}
		if n := p.dials.Load() - before; n != 1 {
			t.Errorf("it dialled %d times", n)
		}
		x.way.redirect(x.replicas[0].config.serve.discovery)
		eventually(t, "it goes back", func() bool { return p.dials.Load() > before+1 })
	})
	t.Run("a replica is killed in mid-push", func(t *testing.T) {
		const burst = 200
		before := p.dials.Load()
		second := x.replicas[1].config.serve.discovery
		var once sync.Once
		p.mu.Lock()
		p.saw = func(u discovery.Update) { // the first clusters of the burst are there, their endpoints are not
			if u.Type == wire.TypeCluster && slices.ContainsFunc(u.Changed, func(r wire.Resource) bool { return strings.Contains(r.Name, "burst-") }) {
				once.Do(func() { x.way.redirect(second) })
			}
		}
		p.mu.Unlock()
		for i := range burst {
			x.api.apply(service(fmt.Sprintf("burst-%d", i)))
		}
		eventually(t, "the proxy goes to the other replica", func() bool { return p.dials.Load() > before })
		x.stop[0]()
		fresh := x.connect()
		eventually(t, "it ends with what a proxy has that never knew the first", func() bool {
			return p.has(fmt.Sprintf("burst-%d", burst-1)) && p.has("burst-0") && p.same(fresh)
		})
		for _, name := range []string{"web", "while-away"} {
			if p.lost(name) {
				t.Errorf("%s was taken away meanwhile", name)
			}
		}
		if n := p.dials.Load() - before; n > 3 {
			t.Errorf("it dialled %d times", n)
		}
	})
}
