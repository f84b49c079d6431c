package publish

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// cluster is what tests change; its parts keep their pointers.
type cluster struct {
	mesh      *model.Mesh
	services  []*model.Service
	sets      map[model.EndpointKey]*model.EndpointSet
	workloads map[model.Name]*model.Workload
	gateways  []*model.Gateway
}

func newCluster() *cluster {
	return &cluster{
		mesh:      &model.Mesh{TrustDomain: "td", RootNamespace: "heddle-system", ClusterDomain: "cluster.local", AutoMTLS: true, ConnectTimeout: time.Second},
		sets:      map[model.EndpointKey]*model.EndpointSet{},
		workloads: map[model.Name]*model.Workload{},
	}
}

// service adds or replaces an HTTP service on port 80 with one endpoint.
func (c *cluster) service(name, ip string) {
	host := name + ".shop.svc.cluster.local"
	s := &model.Service{
		Host: host, Name: name, Namespace: "shop", From: model.Name{Namespace: "shop", Name: name}, Addresses: []string{ip}, Export: model.Visibility{Public: true},
		Ports: []model.ServicePort{{Name: "http", Number: 80, Protocol: model.HTTP, Target: 8080}}, Selector: model.Selector{"app": name},
	}
	c.services = slices.DeleteFunc(c.services, func(old *model.Service) bool { return old.Host == host })
	c.services = append(c.services, s)
	c.endpoint(name, "10.1.0.1")
}

func (c *cluster) endpoint(name, ip string) {
	key := model.EndpointKey{Host: name + ".shop.svc.cluster.local", Namespace: "shop", Port: 80}
	c.sets = maps.Clone(c.sets)
	c.sets[key] = &model.EndpointSet{Key: key, Endpoints: []*model.Endpoint{{Address: ip, Port: 8080}}}
}

// pod adds a pod; an empty account means a gateway's.
func (c *cluster) pod(name, app string, sidecar bool) {
	w := &model.Workload{
		Name: model.Name{Namespace: "shop", Name: name}, IPs: []string{"10.2.0.1"}, Labels: model.Labels{"app": app},
		Identity: identity(app), Facts: model.Facts{Workload: app, Pod: name, Namespace: "shop"},
	}
	if sidecar {
		w.Annotations = map[string]string{wire.StatusAnnotation: "injected"}
	}
	c.workloads = maps.Clone(c.workloads)
	c.workloads[w.Name] = w
}

func identity(account string) spiffe.Identity {
	return spiffe.Identity{TrustDomain: "td", Namespace: "shop", ServiceAccount: account}
}

func (c *cluster) snapshot() *model.Snapshot {
	return &model.Snapshot{Mesh: c.mesh, Services: slices.Clone(c.services), Gateways: c.gateways}
}

func (c *cluster) index() *model.EndpointIndex { return &model.EndpointIndex{Sets: c.sets} }
func (c *cluster) pods() *model.WorkloadIndex  { return &model.WorkloadIndex{ByName: c.workloads} }
func (c *cluster) all(p *Publisher) {
	p.SetSnapshot(c.snapshot())
	p.SetEndpoints(c.index())
	p.SetWorkloads(c.pods())
}

func newPublisher(t *testing.T, o Options) *Publisher {
	t.Helper()
	o.Log, o.Meter = slog.New(slog.DiscardHandler), noop.Meter{}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	p.WatchSecrets()
	return p
}

func (c *cluster) subscribe(t *testing.T, p *Publisher, pod, app, role string) *client {
	t.Helper()
	sub, err := c.attempt(p, pod, app, role)
	if err != nil {
		t.Fatalf("subscribing %s: %v", pod, err)
	}
	return sub.(*client)
}

func (c *cluster) attempt(p *Publisher, pod, app, role string) (discovery.Subscription, error) {
	return p.Subscribe(context.Background(), discovery.Caller{Identity: identity(app), Namespace: "shop", Pod: pod},
		discovery.Node{ID: role + "~" + pod, Role: role, Dialect: wire.Dialect})
}

// told lists what a client's stream is woken for, as Type/name.
func told(c *client) string {
	synctest.Wait()
	var out []string
	for typ, names := range c.Take() {
		for name := range names {
			out = append(out, typ[strings.LastIndexByte(typ, '.')+1:]+"/"+name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// running is a bubble with a publisher that runs.
func running(t *testing.T, o Options, f func(t *testing.T, c *cluster, p *Publisher)) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPublisher(t, o), newCluster()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		f(t, c, p)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestReplicasShareWhatTheyAreTold(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("db", "10.96.0.1")
		c.pod("web-1", "web", true)
		c.pod("web-2", "web", true)
		c.pod("api-1", "api", true)
		c.all(p)
		one, two := c.subscribe(t, p, "web-1", "web", wire.NodeSidecar), c.subscribe(t, p, "web-2", "web", wire.NodeSidecar)
		other := c.subscribe(t, p, "api-1", "api", wire.NodeSidecar)
		if a, b := one.state.Load(), two.state.Load(); a.own != b.own || a.outer != b.outer {
			t.Error("replicas do not share their configuration")
		}
		if a, b := one.state.Load(), other.state.Load(); a.own == b.own || a.outer != b.outer {
			t.Error("workloads of one namespace must share their view of others, and nothing else")
		}
	})
}

// TestVersionsAreCompleteWhenTheirChangesAreTaken holds what the proxies' progress is counted by.
func TestVersionsAreCompleteWhenTheirChangesAreTaken(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("db", "10.96.0.1")
		c.pod("web-1", "web", true)
		c.all(p)
		web := c.subscribe(t, p, "web-1", "web", wire.NodeSidecar)
		want := func(when string, latest, complete uint64) {
			t.Helper()
			synctest.Wait()
			if l, d := web.Progress(); l != latest || d != complete {
				t.Errorf("%s: version %d is shown and %d complete, want %d and %d", when, l, d, latest, complete)
			}
		}
		want("a proxy that came", 1, 1)
		p.SetSnapshot(c.snapshot())
		want("an equal snapshot", 2, 2)
		c.service("db", "10.96.0.9")
		if v := p.SetSnapshot(c.snapshot()); v != 3 {
			t.Errorf("the third snapshot has version %d", v)
		}
		want("a change that nobody took yet", 3, 2)
		p.SetSnapshot(c.snapshot())
		want("an equal snapshot after it", 4, 2)
		web.Take()
		want("all is taken", 4, 4)
	})
}

func TestOnlyWhatChangedIsTold(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("db", "10.96.0.1")
		c.service("cache", "10.96.0.2")
		c.pod("web-1", "web", true)
		c.all(p)
		web := c.subscribe(t, p, "web-1", "web", wire.NodeSidecar)
		if got := told(web); got != "" {
			t.Errorf("before any change: told of %s", got)
		}
		p.SetSnapshot(c.snapshot())
		if got := told(web); got != "" {
			t.Errorf("an equal snapshot: told of %s", got)
		}
		c.service("db", "10.96.0.9")
		p.SetSnapshot(c.snapshot())
		if got := told(web); got != "Cluster/outbound|80||db.shop.svc.cluster.local RouteConfiguration/80" {
			t.Errorf("another address of a service: told of %s", got)
		}
		c.service("new", "10.96.0.3")
		p.SetSnapshot(c.snapshot())
		c.mesh = &model.Mesh{TrustDomain: "td", RootNamespace: "heddle-system", ClusterDomain: "cluster.local", AutoMTLS: true, ConnectTimeout: 2 * time.Second}
		p.SetSnapshot(c.snapshot())
		got := told(web)
		for _, want := range []string{"Cluster/outbound|80||new.shop.svc.cluster.local", "Cluster/outbound|80||cache", "ClusterLoadAssignment/outbound|80||new", "RouteConfiguration/80"} {
			if !strings.Contains(got, want) {
				t.Errorf("the one pending push did not grow by %s: %s", want, got)
			}
		}
	})
}

func TestEndpointsDoNotWaitForConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPublisher(t, Options{}), newCluster()
		c.service("db", "10.96.0.1")
		c.service("cache", "10.96.0.2")
		c.pod("web-1", "web", true)
		c.all(p)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		web := c.subscribe(t, p, "web-1", "web", wire.NodeSidecar)
		stop()
		<-done // nobody makes configuration any more

		name := "outbound|80||db.shop.svc.cluster.local"
		before := web.View().Get(t.Context(), wire.TypeEndpoints, name)
		c.endpoint("db", "10.1.0.2")
		p.SetEndpoints(c.index())
		if got := told(web); got != "ClusterLoadAssignment/"+name {
			t.Errorf("told of %s", got)
		}
		after := web.View().Get(t.Context(), wire.TypeEndpoints, name)
		if before == nil || after == nil || before.Version == after.Version {
			t.Errorf("endpoints went from %v to %v", before, after)
		}
		if again := web.View().Get(t.Context(), wire.TypeEndpoints, name); again != after {
			t.Error("an assignment is marshalled twice")
		}
		p.SetEndpoints(c.index())
		if got := told(web); got != "" {
			t.Errorf("equal endpoints: told of %s", got)
		}
	})
}

func TestProxiesWaitForTheirPod(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		if _, err := c.attempt(p, "web-1", "web", wire.NodeSidecar); !errors.Is(err, discovery.ErrNotReady) {
			t.Errorf("before anything is known: %v", err)
		}
		c.service("db", "10.96.0.1")
		c.all(p)
		if _, err := c.attempt(p, "web-1", "web", wire.NodeSidecar); !errors.Is(err, discovery.ErrUnknownPod) {
			t.Errorf("an unknown pod: %v", err)
		}
		go func() {
			time.Sleep(3 * time.Second)
			c.pod("web-1", "web", true)
			p.SetWorkloads(c.pods())
		}()
		began := time.Now()
		c.subscribe(t, p, "web-1", "web", wire.NodeSidecar)
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("waited %s for the pod", waited)
		}
		if _, err := c.attempt(p, "web-1", "thief", wire.NodeSidecar); !errors.Is(err, discovery.ErrUnknownPod) {
			t.Errorf("a pod of another identity: %v", err)
		}
		if _, err := c.attempt(p, "web-1", "web", wire.NodeRouter); !errors.Is(err, discovery.ErrContradiction) {
			t.Errorf("an injected pod that claims to be a gateway: %v", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.waiting) != 0 || len(p.clients) != 1 {
			t.Errorf("%d wait and %d are connected; want 0 and 1", len(p.waiting), len(p.clients))
		}
	})
}

// TestNobodyIsLateInTheQueue holds that the wait for a pod begins when it is looked for: a control plane that has no time for a minute, as when a
// thousand proxies connect at once, turns nobody away whose pod is known.
func TestNobodyIsLateInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPublisher(t, Options{PodWait: 5 * time.Second}), newCluster()
		c.service("web", "10.96.0.1")
		c.pod("web-1", "web", true)
		c.all(p)
		outcomes := map[string]chan error{"web-1": make(chan error, 1), "web-2": make(chan error, 1)}
		for pod, outcome := range outcomes {
			go func() {
				_, err := c.attempt(p, pod, "web", wire.NodeSidecar)
				outcome <- err
			}()
		}
		time.Sleep(time.Minute)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		began := time.Now()
		if err := <-outcomes["web-1"]; err != nil || time.Since(began) != 0 {
			t.Errorf("a pod that was known all the time: %v after %v", err, time.Since(began))
		}
		if err := <-outcomes["web-2"]; !errors.Is(err, discovery.ErrUnknownPod) || time.Since(began) != 5*time.Second {
			t.Errorf("a pod that nobody knows: %v after %v", err, time.Since(began))
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestChangedLabelsChangeTheScope(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("web", "10.96.0.1")
		c.pod("web-1", "other", true)
		c.all(p)
		sub, err := p.Subscribe(t.Context(), discovery.Caller{Identity: identity("other"), Namespace: "shop", Pod: "web-1"},
			discovery.Node{Role: wire.NodeSidecar, Dialect: wire.Dialect})
		if err != nil {
			t.Fatal(err)
		}
		moved := *c.workloads[model.Name{Namespace: "shop", Name: "web-1"}]
		moved.Labels = model.Labels{"app": "web"}
		c.workloads = map[model.Name]*model.Workload{moved.Name: &moved}
		p.SetWorkloads(c.pods())
		if got := told(sub.(*client)); got != "Cluster/inbound|8080|| Listener/virtualInbound" {
			t.Errorf("a pod that a service now selects: told of %s", got)
		}
		if got := p.ScopeOf("web-1.shop"); !strings.Contains(got, "port 8080: PERMISSIVE, Service shop/web") {
			t.Errorf("scope is told as %q", got)
		}
	})
}

// TestANamesakeIsAnotherPod: a pod of a StatefulSet comes back under its name while its predecessor's proxy still drains.
func TestANamesakeIsAnotherPod(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("db", "10.96.0.1")
		c.pod("web-0", "web", true)
		c.all(p)
		sub := c.subscribe(t, p, "web-0", "web", wire.NodeSidecar)
		told(sub)
		before := sub.state.Load().own
		successor := *c.workloads[model.Name{Namespace: "shop", Name: "web-0"}]
		successor.UID, successor.Labels, successor.Identity = "another", model.Labels{"app": "db"}, identity("db")
		c.workloads = map[model.Name]*model.Workload{successor.Name: &successor}
		p.SetWorkloads(c.pods())
		if got := told(sub); got != "" || sub.state.Load().own != before {
			t.Errorf("the old pod's proxy is told of %q", got)
		}
		c.service("more", "10.96.0.2")
		p.SetSnapshot(c.snapshot())
		if got := told(sub); !strings.Contains(got, "outbound|80||more.shop.svc.cluster.local") || sub.workload.UID != "" {
			t.Errorf("after another change: told of %q", got)
		}
	})
}

func TestNamesFollowHeadlessPods(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("db", "10.96.0.1")
		headless := *c.services[0]
		headless.Addresses, headless.Resolution = nil, model.ResolveHeadless
		c.services[0] = &headless
		c.pod("web-1", "web", true)
		c.pod("web-2", "web", true)
		c.all(p)
		plain := c.subscribe(t, p, "web-2", "web", wire.NodeSidecar)
		sub, err := p.Subscribe(t.Context(), discovery.Caller{Identity: identity("web"), Namespace: "shop", Pod: "web-1"},
			discovery.Node{ID: "sidecar~web-1", Role: wire.NodeSidecar, Dialect: wire.Dialect, Names: true, Allocated: true})
		if err != nil {
			t.Fatal(err)
		}
		names := sub.(*client)
		if len(names.View().All(wire.TypeNames)) != 1 || len(plain.View().All(wire.TypeNames)) != 0 {
			t.Fatal("who asks for names has none, or who does not has some")
		}
		c.endpoint("db", "10.1.0.2")
		p.SetEndpoints(c.index())
		if got := told(names); !strings.Contains(got, "DnsTable/db.shop.svc.cluster.local") {
			t.Errorf("told of %s", got)
		}
		if got := told(plain); strings.Contains(got, "DnsTable") {
			t.Errorf("a proxy without names is told of %s", got)
		}
	})
}

// TestForeignProxiesAreToldIdentities holds that a foreign proxy learns of other identities behind a service, and that endpoints which bring none
// cost no new configuration.
func TestForeignProxiesAreToldIdentities(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("web", "10.96.0.1")
		c.service("db", "10.96.0.2")
		c.pod("web-1", "web", true)
		behind := func(ip string, id spiffe.Identity) {
			key := model.EndpointKey{Host: "db.shop.svc.cluster.local", Namespace: "shop", Port: 80}
			c.sets = maps.Clone(c.sets)
			c.sets[key] = &model.EndpointSet{Key: key, Endpoints: []*model.Endpoint{{Address: ip, Port: 8080, Identity: id, MeshTLS: true}}}
		}
		behind("10.1.0.1", identity("db"))
		c.all(p)
		sub, err := p.Subscribe(t.Context(), discovery.Caller{Identity: identity("web"), Namespace: "shop", Pod: "web-1"},
			discovery.Node{ID: "sidecar~web-1", Role: wire.NodeSidecar})
		if err != nil {
			t.Fatal(err)
		}
		foreign := sub.(*client)
		const db = "outbound|80||db.shop.svc.cluster.local"
		synctest.Wait()
		index := p.index
		behind("10.1.0.2", identity("db"))
		p.SetEndpoints(c.index())
		if got := told(foreign); got != "ClusterLoadAssignment/"+db {
			t.Errorf("another pod of the same account: told %q", got)
		}
		if p.index != index {
			t.Error("another pod of the same account: everything was made anew")
		}
		behind("10.1.0.2", identity("impostor"))
		p.SetEndpoints(c.index())
		if got := told(foreign); got != "Cluster/"+db+" ClusterLoadAssignment/"+db {
			t.Errorf("a pod of another account: told %q", got)
		}
	})
}

// TestOlderProxiesShareAndFollow: proxies of an older dialect have a configuration of their own, made once for all of them, and hear of what changes.
func TestOlderProxiesShareAndFollow(t *testing.T) {
	running(t, Options{}, func(t *testing.T, c *cluster, p *Publisher) {
		c.service("web", "10.96.0.1")
		for _, pod := range []string{"web-1", "web-2", "web-3"} {
			c.pod(pod, "web", true)
		}
		c.all(p)
		subscribe := func(pod string, dialect int) *client {
			sub, err := p.Subscribe(t.Context(), discovery.Caller{Identity: identity("web"), Namespace: "shop", Pod: pod},
				discovery.Node{ID: "sidecar~" + pod, Role: wire.NodeSidecar, Dialect: dialect})
			if err != nil {
				t.Fatal(err)
			}
			return sub.(*client)
		}
		one, two, later := subscribe("web-1", 1), subscribe("web-2", 1), subscribe("web-3", wire.Dialect+1)
		if one.scope.Outbound.Class.Older != 1 || later.scope.Outbound.Class.Older != 0 {
			t.Fatalf("dialects %d and %d", one.scope.Outbound.Class.Older, later.scope.Outbound.Class.Older)
		}
		if a, b := one.state.Load(), two.state.Load(); a.outer != b.outer || a.outer == later.state.Load().outer {
			t.Error("proxies of one dialect do not share, or those of two do")
		}
		before := one.View().All(wire.TypeCluster)
		told(one)
		c.service("more", "10.96.0.2")
		p.SetSnapshot(c.snapshot())
		if got := told(one); !strings.Contains(got, "Cluster/outbound|80||more.shop.svc.cluster.local") || strings.Contains(got, "||web.shop") {
			t.Errorf("told of %s", got)
		}
		for _, r := range one.View().All(wire.TypeCluster) {
			if at := slices.IndexFunc(before, func(b *wire.Resource) bool { return b.Name == r.Name }); at >= 0 && before[at] != r {
				t.Errorf("%s was made again", r.Name)
			}
		}
	})
}
