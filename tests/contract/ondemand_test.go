package contract

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	served "github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/publish"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

const (
	many = 1000 // services
	few  = 20   // that a workload uses
)

// plane is a control plane of many services, each with an HTTP port and a TCP port.
type plane struct {
	t         *testing.T
	publisher *publish.Publisher
	address   string
	server    *grpc.Server
	services  []*model.Service
	endpoints map[model.EndpointKey]*model.EndpointSet
}

func newPlane(t *testing.T, pods ...string) *plane {
	p := &plane{t: t, endpoints: map[model.EndpointKey]*model.EndpointSet{}}
	var err error
	if p.publisher, err = publish.New(publish.Options{Log: slog.New(slog.DiscardHandler), Meter: noop.Meter{}, PodWait: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		p.add(i)
	}
	workloads := map[model.Name]*model.Workload{}
	for _, pod := range pods {
		app, _, _ := strings.Cut(pod, "-")
		name := model.Name{Namespace: "shop", Name: pod}
		workloads[name] = &model.Workload{Name: name, IPs: []string{"10.9.0.1"}, Labels: model.Labels{"app": app}, Identity: callerOf(pod).Identity,
			Facts: model.Facts{Workload: app, Pod: pod, Namespace: "shop"}, Annotations: map[string]string{wire.StatusAnnotation: "injected"}}
	}
	p.publisher.SetWorkloads(&model.WorkloadIndex{ByName: workloads})
	p.publish()
	go func() { _ = p.publisher.Run(t.Context()) }()
	p.serve()
	return p
}

// add adds a service.
func (p *plane) add(i int) {
	name, address := fmt.Sprintf("s%d", i), addressOf(i).String()
	s := &model.Service{
		Host: name + ".shop.svc.cluster.local", Name: name, Namespace: "shop", From: model.Name{Namespace: "shop", Name: name}, Addresses: []string{address},
		Export: model.Visibility{Public: true},
		Ports:  []model.ServicePort{{Name: "http", Number: 80, Protocol: model.HTTP, Target: 8080}, {Name: "tcp", Number: 9000, Protocol: model.TCP, Target: 9000}},
	}
	p.services = append(p.services, s)
	for _, port := range s.Ports {
		key := model.EndpointKey{Host: s.Host, Namespace: "shop", Port: port.Number}
		p.endpoints[key] = &model.EndpointSet{Key: key, Endpoints: []*model.Endpoint{{Address: address, Port: port.Target, MeshTLS: true, Identity: callerOf(name).Identity}}}
	}
}

func addressOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}) }

func (p *plane) publish() {
	services, sets := append([]*model.Service(nil), p.services...), map[model.EndpointKey]*model.EndpointSet{}
	for key, set := range p.endpoints {
		sets[key] = set
	}
	p.publisher.SetEndpoints(&model.EndpointIndex{Sets: sets})
	p.publisher.SetSnapshot(&model.Snapshot{Services: services, Mesh: &model.Mesh{TrustDomain: "td", RootNamespace: "heddle-system",
		ClusterDomain: "cluster.local", AutoMTLS: true, ConnectTimeout: time.Second}})
}

func callerOf(pod string) served.Caller {
	app, _, _ := strings.Cut(pod, "-")
	return served.Caller{Namespace: "shop", Pod: pod, Identity: spiffe.Identity{TrustDomain: "td", Namespace: "shop", ServiceAccount: app}}
}

func (p *plane) serve() {
	discovery, err := served.New(served.Options{Registry: p.publisher, Log: slog.New(slog.DiscardHandler), Meter: noop.Meter{},
		Authenticate: func(_ context.Context, pod string) (served.Caller, error) { return callerOf(pod), nil }})
	if err != nil {
		p.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	p.address, p.server = listener.Addr().String(), grpc.NewServer()
	discovery.Register(p.server)
	go func() { _ = p.server.Serve(listener) }()
	p.t.Cleanup(p.server.Stop)
}

// pod is a proxy without sockets: the client of discovery, and what is made of what it brings.
type pod struct {
	t        *testing.T
	client   *discovery.Client
	received atomic.Int64 // bytes

	mu       sync.Mutex
	compiler *compile.Compiler
	config   *config.Config
	changed  chan struct{}
}

func (p *plane) start(name string, onDemand bool) *pod {
	app, _, _ := strings.Cut(name, "-")
	out := &pod{t: p.t, config: &config.Config{}, changed: make(chan struct{}),
		compiler: compile.New(compile.Options{Workload: nobody{}, Mesh: nobody{}, Secrets: mtls.NewSecrets(), OnDemand: onDemand})}
	out.client = discovery.New(discovery.Options{Sink: out, Log: slog.New(slog.DiscardHandler),
		Node: discovery.Node{Type: wire.NodeSidecar, IPs: []string{"10.9.0.1"}, Pod: name, Namespace: "shop", ServiceAccount: app, ClusterDomain: "cluster.local", OnDemand: onDemand},
		Dial: func() (*grpc.ClientConn, error) {
			return grpc.NewClient(p.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(out))
		}})
	go func() { _ = out.client.Run(p.t.Context()) }()
	out.until("it is told of its own listeners", func(c *config.Config) bool { return c.Listener(wire.ListenerVirtualInbound) != nil })
	return out
}

func (o *pod) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (o *pod) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (o *pod) HandleConn(context.Context, stats.ConnStats)                       {}
func (o *pod) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		o.received.Add(int64(in.WireLength))
	}
}

func (o *pod) Apply(u discovery.Update) map[string]error {
	o.mu.Lock()
	defer o.mu.Unlock()
	refused := o.compiler.Apply(u.Type, u.Changed, u.Removed)
	for name, err := range refused {
		o.t.Errorf("refused %s: %v", name, err)
	}
	return refused
}

func (o *pod) Wanted(typ string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.compiler.Wanted(typ)
}

func (o *pod) Commit() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.config = o.compiler.Config()
	close(o.changed)
	o.changed = make(chan struct{})
}

// until waits for a configuration.
func (o *pod) until(what string, is func(*config.Config) bool) {
	o.t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	for {
		o.mu.Lock()
		now, changed := o.config, o.changed
		o.mu.Unlock()
		if is(now) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			o.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// vhost is what the table of port 80 has for a host: "unasked" where that is not known, "none" where there is no table.
func vhost(c *config.Config, host string) string {
	table := c.Routes["80"]
	if table == nil {
		return "none"
	}
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{})
	x.Request.Authority, x.Request.Path = x.Request.Intern(host), x.Request.Intern("/")
	v, _ := table.Match(x)
	return v.Name
}

// use connects to the HTTP and the TCP port of a service, and asks for the host.
func (o *pod) use(i int) {
	o.t.Helper()
	for _, port := range []uint16{80, 9000} {
		o.connect(netip.AddrPortFrom(addressOf(i), port))
	}
	o.ask(fmt.Sprintf("s%d", i), fmt.Sprintf("s%d.shop.svc.cluster.local:80", i))
}

func (o *pod) connect(to netip.AddrPort) {
	o.t.Helper()
	o.mu.Lock()
	o.compiler.AskAddress(to)
	o.mu.Unlock()
	o.client.Ask()
	o.until("the listeners of "+to.String(), func(c *config.Config) bool { return c.Settled[to] })
}

func (o *pod) ask(host, want string) {
	o.t.Helper()
	o.mu.Lock()
	o.compiler.AskHost("80", host)
	o.mu.Unlock()
	o.client.Ask()
	o.until("the host "+host, func(c *config.Config) bool { return vhost(c, host) == want })
}

// held counts what is held of others.
func (o *pod) held() (clusters, listeners, assignments int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range o.config.Clusters {
		if strings.HasPrefix(name, "outbound|") {
			clusters++
		}
	}
	return clusters, len(o.config.Listeners), len(o.config.Endpoints)
}

// TestOnDemandCostsWhatIsUsed holds that a proxy which uses 20 of 1,000 services is sent and keeps what these are, that what is not there is asked
// for once, and that a replica is told without asking.
func TestOnDemandCostsWhatIsUsed(t *testing.T) {
	p := newPlane(t, "full-1", "web-1", "web-2", "lone-1")
	full := p.start("full-1", false)
	full.until("all clusters", func(c *config.Config) bool { return len(c.Endpoints) == 2*many && c.Routes["80"] != nil })

	first := p.start("web-1", true)
	if clusters, listeners, assignments := first.held(); clusters+assignments > 0 || listeners > 2 {
		t.Errorf("unused, it holds %d clusters, %d listeners and %d assignments", clusters, listeners, assignments)
	}
	for i := range few {
		first.use(i)
	}
	clusters, listeners, assignments := first.held()
	if clusters != 2*few || assignments != 2*few || listeners != few+3 {
		t.Errorf("it holds %d clusters, %d assignments and %d listeners, want %d, %d and %d", clusters, assignments, listeners, 2*few, 2*few, few+3)
	}
	if mine, all := first.received.Load(), full.received.Load(); mine > all/10 {
		t.Errorf("it was sent %d bytes, one that is told everything %d", mine, all)
	}

	t.Run("what is not there", func(t *testing.T) {
		first.connect(netip.MustParseAddrPort("192.0.2.1:443"))
		first.ask("example.com", "allow_any")
		late := fmt.Sprintf("s%d", many)
		first.ask(late, "allow_any")
		p.add(many)
		p.publish()
		first.until("what was not there is told once it is", func(c *config.Config) bool { return vhost(c, late) == late+".shop.svc.cluster.local:80" })
	})
	t.Run("a replica is told what its sibling uses", func(t *testing.T) {
		second := p.start("web-2", true)
		second.until("the hosts of its sibling", func(c *config.Config) bool {
			for i := range few {
				if vhost(c, fmt.Sprintf("s%d", i)) == "unasked" || c.Listener(addressOf(i).String()+"_9000") == nil {
					return false
				}
			}
			return true
		})
		first.use(few)
		second.until("what its sibling uses now", func(c *config.Config) bool { return vhost(c, fmt.Sprintf("s%d", few)) != "unasked" })
		lone := p.start("lone-1", true)
		if clusters, _, _ := lone.held(); clusters > 0 {
			t.Errorf("another workload is told of %d clusters", clusters)
		}
	})
	t.Run("without a control plane", func(t *testing.T) {
		p.server.Stop()
		for deadline := time.Now().Add(time.Minute); first.client.Status().Connected && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		}
		if first.client.Status().Connected {
			t.Fatal("it does not notice")
		}
		if now, _, _ := first.held(); now < 2*few {
			t.Errorf("it holds %d clusters", now)
		}
		first.mu.Lock()
		defer first.mu.Unlock()
		first.compiler.AskHost("80", "s900")
		to := netip.AddrPortFrom(addressOf(900), 9000)
		first.compiler.AskAddress(to)
		if c := first.compiler.Config(); vhost(c, "s900") != "unasked" || c.Settled[to] || vhost(c, "example.com") != "allow_any" {
			t.Errorf("what was not asked for before counts as known: %s, %t", vhost(c, "s900"), c.Settled[to])
		}
	})
}
