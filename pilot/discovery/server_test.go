package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.opentelemetry.io/otel/metric/noop"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// world is a Registry whose one view tests change.
type world struct {
	mu        sync.Mutex
	resources map[string]map[string]string // type to name to version
	pending   Changes
	changed   chan struct{}
	refusal   error

	latest, complete uint64

	unasked map[string]map[string]bool // by partial type: what is told without asking
	asked   map[string]bool
	needs   map[string]Changes // by "type name"
}

func newWorld() *world {
	return &world{resources: map[string]map[string]string{}, changed: make(chan struct{}, 1), asked: map[string]bool{}}
}

// set changes a resource; an empty version removes it.
func (w *world) set(typ, name, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resources[typ] == nil {
		w.resources[typ] = map[string]string{}
	}
	if version == "" {
		delete(w.resources[typ], name)
	} else {
		w.resources[typ][name] = version
	}
	if w.pending == nil {
		w.pending = Changes{}
	}
	w.pending.Merge(Changes{typ: {name: true}})
}

// tell wakes the stream.
func (w *world) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *world) Subscribe(context.Context, Caller, Node) (Subscription, error) { return w, w.refusal }
func (w *world) Changed() <-chan struct{}                                      { return w.changed }
func (w *world) View() View                                                    { return w }
func (w *world) Close()                                                        {}
func (w *world) Asked(_ string, names map[string]bool)                         { maps.Copy(w.asked, names) }
func (w *world) Needs(typ, name string) Changes                                { return w.needs[typ+" "+name] }
func (w *world) Partial(typ string) bool                                       { return w.unasked[typ] != nil }
func (w *world) Includes(typ, name string) bool                                { return !w.Partial(typ) || w.unasked[typ][name] }

func (w *world) Take() Changes {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.pending
	w.pending, w.complete = nil, w.latest
	return taken
}

// version makes the world as it is a version of the mesh.
func (w *world) version(v uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.latest = v; w.pending == nil {
		w.complete = v
	}
}

func (w *world) Progress() (latest, complete uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest, w.complete
}

func (w *world) All(typ string) []*wire.Resource {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*wire.Resource
	for name, version := range w.resources[typ] {
		if !w.Includes(typ, name) {
			continue
		}
		out = append(out, &wire.Resource{Type: typ, Name: name, Version: version, Body: []byte(version)})
	}
	slices.SortFunc(out, func(a, b *wire.Resource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (w *world) Get(_ context.Context, typ, name string) *wire.Resource {
	w.mu.Lock()
	defer w.mu.Unlock()
	version, known := w.resources[typ][name]
	if !known {
		return nil
	}
	return &wire.Resource{Type: typ, Name: name, Version: version, Body: []byte(version)}
}

// line is a stream between a test and the server, without gRPC.
type line struct {
	t       *testing.T
	isDelta bool
	up      chan *request
	down    chan *response
	ended   chan error
}

func (l *line) delta() bool { return l.isDelta }

func (l *line) recv() (*request, error) {
	r, ok := <-l.up
	if !ok {
		return nil, io.EOF
	}
	return r, nil
}

func (l *line) send(r *response) error { l.down <- r; return nil }

// ask sends a request.
func (l *line) ask(r *request) { l.up <- r }

// said returns what the server sent until it fell silent, one line a response: "Cluster a=1 b=2 -c".
func (l *line) said() string {
	synctest.Wait()
	var out []string
	for {
		select {
		case r := <-l.down:
			text := shortType(r.typ)
			for _, res := range r.resources {
				text += fmt.Sprintf(" %s=%s", res.Name, res.Version)
			}
			for _, name := range r.removed {
				text += " -" + name
			}
			out = append(out, text)
		default:
			return strings.Join(out, "; ")
		}
	}
}

func (l *line) want(what, said string) {
	l.t.Helper()
	if got := l.said(); got != said {
		l.t.Errorf("%s: the server said %q, want %q", what, got, said)
	}
}

func proxyNode(dialect string) *core.Node {
	fields := map[string]*structpb.Value{
		wire.MetaPodName: structpb.NewStringValue("web-1"), wire.MetaNamespace: structpb.NewStringValue("shop"),
		wire.MetaServiceAccount: structpb.NewStringValue("web"),
	}
	if dialect != "" {
		fields[wire.MetaDialect] = structpb.NewStringValue(dialect)
	}
	return &core.Node{Id: "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local", Metadata: &structpb.Struct{Fields: fields}}
}

func asWeb(context.Context, string) (Caller, error) {
	return Caller{Identity: spiffe.Identity{TrustDomain: "td", Namespace: "shop", ServiceAccount: "web"}, Namespace: "shop", Pod: "web-1"}, nil
}

// connect serves a stream of one variant in the test's bubble.
func connect(t *testing.T, registry Registry, authenticate Authenticate, delta bool) (*line, *Server) {
	t.Helper()
	l, s, _ := connectLogged(t, registry, authenticate, delta)
	return l, s
}

// connectLogged is connect with what is logged, which may be read once the stream has ended.
func connectLogged(t *testing.T, registry Registry, authenticate Authenticate, delta bool) (*line, *Server, *strings.Builder) {
	t.Helper()
	logged := &strings.Builder{}
	s, err := New(Options{Registry: registry, Authenticate: authenticate, Log: slog.New(slog.NewTextHandler(logged, nil)), Meter: noop.Meter{}})
	if err != nil {
		t.Fatal(err)
	}
	l := &line{t: t, isDelta: delta, up: make(chan *request), down: make(chan *response, 100), ended: make(chan error, 1)}
	go func() { l.ended <- s.serve(t.Context(), l) }()
	return l, s, logged
}

func (l *line) close() {
	close(l.up)
	if err := <-l.ended; err != nil {
		l.t.Errorf("the stream ended with %v", err)
	}
}

func TestDeltaTellsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(wire.TypeCluster, "a", "1")
		w.set(wire.TypeCluster, "b", "1")
		w.set(wire.TypeEndpoints, "a", "1")
		l, server := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*"}})
		l.want("a wildcard subscription is answered whole", "Cluster a=1 b=1")
		l.ask(&request{typ: wire.TypeCluster, nonce: "1"})
		l.ask(&request{typ: wire.TypeEndpoints, subscribe: []string{"a", "nowhere"}})
		l.want("unknown names are said to be absent", "ClusterLoadAssignment a=1 -nowhere")
		w.Take()
		w.tell()
		l.want("nothing changed", "")

		w.set(wire.TypeCluster, "b", "2")
		w.set(wire.TypeEndpoints, "b", "9")
		w.set(wire.TypeEndpoints, "nowhere", "1")
		w.tell()
		l.want("only what changed and is subscribed", "Cluster b=2; ClusterLoadAssignment nowhere=1")

		w.set(wire.TypeCluster, "a", "")
		w.set(wire.TypeCluster, "c", "1")
		w.set(wire.TypeEndpoints, "a", "")
		w.set(wire.TypeListener, "l", "1")
		w.tell()
		l.want("what is gone leaves last, and types come in order", "Cluster c=1; ClusterLoadAssignment -a; Cluster -a")

		l.ask(&request{typ: wire.TypeListener, subscribe: []string{"*"}})
		l.want("a type asked for later", "Listener l=1")
		l.ask(&request{typ: wire.TypeEndpoints, unsubscribe: []string{"nowhere"}})
		l.want("unsubscribing needs no answer", "")
		w.set(wire.TypeEndpoints, "nowhere", "2")
		w.tell()
		l.want("unsubscribed names are not told of", "")
		if n := len(server.Clients()); n != 1 {
			t.Errorf("%d clients, want 1", n)
		}
		l.close()
		if n := len(server.Clients()); n != 0 {
			t.Errorf("%d clients after the stream ended, want 0", n)
		}
	})
}

func TestDeltaResumesWithVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(wire.TypeCluster, "a", "1")
		w.set(wire.TypeCluster, "b", "2")
		w.set(wire.TypeRoute, "80", "1")
		l, _ := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*"}, held: map[string]string{"a": "1", "b": "1", "gone": "1"}})
		l.want("only the difference to what the proxy holds", "Cluster b=2 -gone")
		l.ask(&request{typ: wire.TypeRoute, subscribe: []string{"80"}, held: map[string]string{"80": "1"}})
		l.want("a name that is up to date is not sent again", "")
		l.close()
	})
}

// TestAStockEnvoyIsSentTheEndpointsOfClusters has a proxy that holds clusters and endpoints from a stream before. A stock Envoy waits for the endpoints of
// a cluster whenever that changes, and may wait for those of any since before.
func TestAStockEnvoyIsSentTheEndpointsOfClusters(t *testing.T) {
	clusters := request{typ: wire.TypeCluster, subscribe: []string{"*"}, held: map[string]string{"a": "1", "b": "1"}}
	endpoints := request{typ: wire.TypeEndpoints, subscribe: []string{"a", "b"}, names: []string{"a", "b"}, held: map[string]string{"a": "1", "b": "1"}}
	for says, c := range map[string]struct {
		dialect string
		world   bool
		asks    []request
		want    string
	}{
		"clusters first":  {asks: []request{clusters, endpoints}, want: "Cluster a=2; ClusterLoadAssignment a=1 b=1"},
		"endpoints first": {asks: []request{endpoints, clusters}, want: "ClusterLoadAssignment a=1 b=1; Cluster a=2; ClusterLoadAssignment a=1"},
		"endpoints first, in the state of the world": {world: true, asks: []request{endpoints, clusters},
			want: "ClusterLoadAssignment a=1 b=1; Cluster a=2 b=1; ClusterLoadAssignment a=1 b=1"},
		"our own proxy waits for nothing":     {dialect: "1", asks: []request{clusters, endpoints}, want: "Cluster a=2"},
		"our own proxy, with endpoints first": {dialect: "1", asks: []request{endpoints, clusters}, want: "Cluster a=2"},
	} {
		t.Run(says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				for _, r := range []struct{ typ, name, version string }{
					{wire.TypeCluster, "a", "2"}, {wire.TypeCluster, "b", "1"}, {wire.TypeEndpoints, "a", "1"}, {wire.TypeEndpoints, "b", "1"},
				} {
					w.set(r.typ, r.name, r.version)
				}
				l, _ := connect(t, w, asWeb, !c.world)
				c.asks[0].node = proxyNode(c.dialect)
				for _, ask := range c.asks {
					if c.world { // which says nothing of what is held
						ask.held = nil
					}
					l.ask(&ask)
				}
				l.want("when it comes back", c.want)
				l.close()
			})
		})
	}
}

func TestDeltaGreetsAProxyThatLacksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := connect(t, newWorld(), asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*"}})
		l.want("an empty first answer", "Cluster")
		l.close()
	})
}

func TestRefusalIsRecordedAndNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(wire.TypeListener, "l", "bad")
		l, server := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeListener, subscribe: []string{"*"}})
		l.want("the first answer", "Listener l=bad")
		l.ask(&request{typ: wire.TypeListener, nonce: "1", fault: &rpcstatus.Status{Message: "filter_chains[0]: not implemented"}})
		l.want("a refused version is not sent again", "")
		got := server.Clients()[0].Types[wire.TypeListener]
		if got.Refused != 1 || got.Error != "filter_chains[0]: not implemented" || got.Synced() {
			t.Errorf("status is %+v", got)
		}
		w.set(wire.TypeListener, "l", "good")
		w.tell()
		l.want("the next version", "Listener l=good")
		l.ask(&request{typ: wire.TypeListener, nonce: "2"})
		synctest.Wait()
		if got := server.Clients()[0].Types[wire.TypeListener]; !got.Synced() || got.Acked != "2" || got.Refused != 1 {
			t.Errorf("status after the ACK is %+v", got)
		}
		l.close()
	})
}

func TestStateOfTheWorld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(wire.TypeCluster, "a", "1")
		w.set(wire.TypeCluster, "b", "1")
		w.set(wire.TypeEndpoints, "a", "1")
		w.set(wire.TypeEndpoints, "b", "1")
		l, _ := connect(t, w, asWeb, false)
		l.ask(&request{node: proxyNode(""), typ: wire.TypeCluster})
		l.want("no names mean all", "Cluster a=1 b=1")
		l.ask(&request{typ: wire.TypeCluster, nonce: "1"})
		l.ask(&request{typ: wire.TypeEndpoints, names: []string{"a"}})
		l.want("names asked for", "ClusterLoadAssignment a=1")
		l.ask(&request{typ: wire.TypeEndpoints, nonce: "2", names: []string{"a", "b"}})
		l.want("a name more", "ClusterLoadAssignment b=1")
		l.ask(&request{typ: wire.TypeEndpoints, nonce: "2", names: []string{"a"}})
		l.want("an answer to what was overtaken is ignored", "")
		w.Take()
		w.set(wire.TypeCluster, "a", "2")
		w.tell()
		l.want("all clusters, and the endpoints of what changed again, for which a stock Envoy waits", "Cluster a=2 b=1; ClusterLoadAssignment a=1")
		l.close()
	})
}

// TestStateOfTheWorldByName holds that a client which names its listeners and clusters, as gRPC's does, is always told all of them: to it, what a
// response lacks is gone.
func TestStateOfTheWorldByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for _, name := range []string{"a", "b", "c"} {
			w.set(wire.TypeListener, name, "1")
		}
		l, _ := connect(t, w, asWeb, false)
		l.ask(&request{node: proxyNode(""), typ: wire.TypeListener, names: []string{"a"}})
		l.want("one of three", "Listener a=1")
		l.ask(&request{typ: wire.TypeListener, nonce: "1", names: []string{"a", "b"}})
		l.want("another, and the first again", "Listener a=1 b=1")
		l.ask(&request{typ: wire.TypeListener, nonce: "2", names: []string{"a", "b", "nowhere"}})
		l.want("one that does not exist is said so by its absence, at once", "Listener a=1 b=1")
		l.ask(&request{typ: wire.TypeListener, nonce: "3", names: []string{"a", "b", "nowhere"}})
		l.want("an acknowledgement needs no answer", "")
		w.Take()
		w.set(wire.TypeListener, "b", "2")
		w.set(wire.TypeListener, "c", "2")
		w.tell()
		l.want("a change of one", "Listener a=1 b=2")
		w.set(wire.TypeListener, "a", "")
		w.tell()
		l.want("one that is gone", "Listener b=2")
		l.close()
	})
}

func TestReconnectWithOldNonceIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(wire.TypeRoute, "80", "1")
		l, _ := connect(t, w, asWeb, false)
		l.ask(&request{node: proxyNode(""), typ: wire.TypeRoute, nonce: "from-another-server", names: []string{"80"}})
		l.want("a nonce of another server", "RouteConfiguration 80=1")
		l.close()
	})
}

func TestWhoIsRefused(t *testing.T) {
	claims := func(key, value string) *core.Node {
		n := proxyNode("1")
		n.Metadata.Fields[key] = structpb.NewStringValue(value)
		return n
	}
	stranger := func(context.Context, string) (Caller, error) { return Caller{}, errors.New("the token has expired") }
	down := func(context.Context, string) (Caller, error) {
		return Caller{}, status.Error(codes.Unavailable, "the API server cannot be asked")
	}
	for why, c := range map[string]struct {
		node         *core.Node
		authenticate Authenticate
		refusal      error
		code         codes.Code
	}{
		"no node":                  {&core.Node{}, asWeb, nil, codes.InvalidArgument},
		"no proof":                 {proxyNode("1"), stranger, nil, codes.Unauthenticated},
		"a proof nobody can check": {proxyNode("1"), down, nil, codes.Unavailable},
		"another pod":              {claims(wire.MetaPodName, "db-1"), asWeb, nil, codes.PermissionDenied},
		"another namespace":        {claims(wire.MetaNamespace, "bank"), asWeb, nil, codes.PermissionDenied},
		"another account":          {claims(wire.MetaServiceAccount, "admin"), asWeb, nil, codes.PermissionDenied},
		"another role":             {proxyNode("1"), asWeb, fmt.Errorf("%w: not a gateway", ErrContradiction), codes.PermissionDenied},
		"a pod nobody knows":       {proxyNode("1"), asWeb, ErrUnknownPod, codes.Unavailable},
		"before caches are synced": {proxyNode("1"), asWeb, ErrNotReady, codes.Unavailable},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.refusal = c.refusal
				w.set(wire.TypeCluster, "secret", "1")
				l, _ := connect(t, w, c.authenticate, true)
				l.ask(&request{node: c.node, typ: wire.TypeCluster})
				if got := status.Code(<-l.ended); got != c.code {
					t.Errorf("ended with %s, want %s", got, c.code)
				}
				l.want("nothing is told", "")
				close(l.up)
			})
		})
	}
}

func TestManyResourcesAreSplit(t *testing.T) {
	var all []*wire.Resource
	for range 5 {
		all = append(all, &wire.Resource{Body: make([]byte, maxResponse/2)})
	}
	all = append(all, &wire.Resource{Body: make([]byte, 2*maxResponse)})
	var sizes []int
	for rest := all; len(rest) > 0; rest = rest[chunk(rest):] {
		sizes = append(sizes, chunk(rest))
	}
	if !slices.Equal(sizes, []int{2, 2, 1, 1}) {
		t.Errorf("split into %v", sizes)
	}
}

func TestChangesMerge(t *testing.T) {
	c := Changes{}
	c.Merge(Changes{"t": {"a": true}})
	c.Merge(Changes{"t": {"b": true}, "u": nil})
	if len(c["t"]) != 2 || c["u"] != nil {
		t.Errorf("merged to %v", c)
	}
	c.Merge(Changes{"t": nil})
	c.Merge(Changes{"t": {"c": true}})
	if names, known := c["t"]; !known || names != nil {
		t.Errorf("all names of a type do not stay all: %v", c)
	}
}

func TestWhatANodeSaysOfNames(t *testing.T) {
	for _, c := range []struct {
		capture, allocate string
		names, allocated  bool
	}{{"", "", false, true}, {"true", "", true, true}, {"true", "false", true, false}, {"yes", "", false, true}} {
		n := proxyNode("1")
		n.Metadata.Fields[wire.MetaDNSCapture] = structpb.NewStringValue(c.capture)
		n.Metadata.Fields[wire.MetaDNSAutoAllocate] = structpb.NewStringValue(c.allocate)
		if got := nodeOf(n); got.Names != c.names || got.Allocated != c.allocated {
			t.Errorf("%+v is read as %+v", c, got)
		}
	}
}
