package interop

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
)

// stage is the real ADS server with one proxy, which is told what the test says: a discovery.Registry and its Subscription.
type stage struct {
	server  *discovery.Server
	serving *grpc.Server
	socket  string
	changed chan struct{}
	stalled bool // the proxy does not answer

	mu   sync.Mutex
	view *view
}

// newStage serves ADS on a unix socket, which reaches into every network namespace.
func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "heddle-stage-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &stage{socket: filepath.Join(dir, "ads.sock"), changed: make(chan struct{}, 1), view: newView(nil, nil)}
	s.server, err = discovery.New(discovery.Options{Registry: s, Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider().Meter("discovery"),
		Authenticate: func(context.Context, string) (discovery.Caller, error) {
			return discovery.Caller{Namespace: "shop", Pod: "p"}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t)
	t.Cleanup(func() { s.serving.Stop() })
	return s
}

// serve serves on the socket, where nobody else does.
func (s *stage) serve(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	s.serving = grpc.NewServer(discovery.Encoding())
	s.server.Register(s.serving)
	go func() { _ = s.serving.Serve(l) }()
}

func (s *stage) Subscribe(context.Context, discovery.Caller, discovery.Node) (discovery.Subscription, error) {
	return s, nil
}

func (s *stage) Changed() <-chan struct{} { return s.changed }

func (s *stage) Take() discovery.Changes {
	return discovery.Changes{wire.TypeCluster: nil, wire.TypeEndpoints: nil, wire.TypeListener: nil, wire.TypeRoute: nil, wire.TypeSecret: nil}
}

func (s *stage) View() discovery.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

func (s *stage) Close() {}

func (s *stage) Progress() (latest, complete uint64) { return 0, 0 }

const (
	settleWithin = 10 * time.Second
	look         = 2 * time.Millisecond
	calm         = 3 // looks in a row that must find everything answered
)

// show tells the proxy a view, waits until it has taken or refused all of it, and returns why it refused what.
func (s *stage) show(v *view) (refused []string, err error) {
	before := s.statuses()
	s.mu.Lock()
	s.view = v
	s.mu.Unlock()
	s.changed <- struct{}{}
	calmly := 0
	for until := time.Now().Add(settleWithin); time.Now().Before(until); time.Sleep(look) {
		refused = nil
		open := v.unasked()
		for typ, st := range s.statuses() {
			name := typ[strings.LastIndexByte(typ, '.')+1:]
			switch {
			case st.Refused > before[typ].Refused:
				refused, open = append(refused, name+": "+st.Error), nil // what was refused asks for nothing
			case st.Error == "" && st.Sent != st.Acked:
				open = append(open, name)
			}
		}
		if calmly++; len(open) > 0 {
			calmly = 0
			err = fmt.Errorf("not asked for or not answered: %v", open)
		}
		if calmly == calm {
			return refused, nil
		}
	}
	return refused, err
}

func (s *stage) statuses() map[string]discovery.TypeStatus {
	all := s.server.Clients()
	if len(all) == 0 {
		return nil
	}
	return all[0].Types
}

// Asked implements discovery.Subscription: nobody asks on demand here.
func (s *stage) Asked(string, map[string]bool) {}

// view is all that a proxy may know: a discovery.View. It notes what it is asked for.
type view struct {
	resources map[string]map[string]*wire.Resource // by type, by name

	mu     sync.Mutex
	wanted map[string]bool // routes and assignments that nobody has asked for yet
}

func newView(resources []*wire.Resource, wanted []string) *view {
	v := &view{resources: map[string]map[string]*wire.Resource{}, wanted: map[string]bool{}}
	for _, r := range resources {
		if v.resources[r.Type] == nil {
			v.resources[r.Type] = map[string]*wire.Resource{}
		}
		v.resources[r.Type][r.Name] = r
	}
	for _, name := range wanted {
		v.wanted[name] = true
	}
	return v
}

// All implements discovery.View.
func (v *view) All(typ string) []*wire.Resource {
	return slices.SortedFunc(maps.Values(v.resources[typ]), func(a, b *wire.Resource) int { return strings.Compare(a.Name, b.Name) })
}

// Partial implements discovery.View: everything is told.
func (v *view) Partial(string) bool { return false }

// Includes implements discovery.View.
func (v *view) Includes(string, string) bool { return true }

// Needs implements discovery.View.
func (v *view) Needs(string, string) discovery.Changes { return nil }

// Get implements discovery.View.
func (v *view) Get(_ context.Context, typ, name string) *wire.Resource {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.wanted, typ+" "+name)
	return v.resources[typ][name]
}

func (v *view) unasked() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.wanted))
}
