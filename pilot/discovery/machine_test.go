package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.opentelemetry.io/otel/metric/noop"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// yard knows machines of the account web in the namespace shop, and notes what it is told.
type yard struct {
	caller  Caller
	refusal error
	noted   []string
}

func (y *yard) Prove(context.Context) (Caller, error) { return y.caller, nil }

func (y *yard) Register(_ context.Context, c Caller, n Node) (Registration, error) {
	if y.refusal != nil {
		return nil, y.refusal
	}
	y.noted = append(y.noted, fmt.Sprintf("%s of %s at %s", n.Group, c.Identity.ServiceAccount, n.Address))
	return y, nil
}

func (y *yard) Entry() string        { return "vm-10.0.0.1" }
func (y *yard) Health(reason string) { y.noted = append(y.noted, "health "+reason) }
func (y *yard) Leave()               { y.noted = append(y.noted, "left") }

// machine is the node of a machine's proxy, with what it says otherwise.
func machine(says map[string]string) *core.Node {
	all := map[string]string{wire.MetaNamespace: "shop", wire.MetaServiceAccount: "web", wire.MetaPodName: "vm-10.0.0.1", wire.MetaGroup: "vm", wire.MetaInstanceIPs: "10.0.0.1,fd00::1"}
	for k, v := range says {
		all[k] = v
	}
	fields := map[string]*structpb.Value{}
	for k, v := range all {
		fields[k] = structpb.NewStringValue(v)
	}
	return &core.Node{Id: "sidecar~10.0.0.1~vm-10.0.0.1.shop~shop.svc.cluster.local", Metadata: &structpb.Struct{Fields: fields}}
}

func webMachine() Caller {
	return Caller{Identity: spiffe.Identity{TrustDomain: "td", Namespace: "shop", ServiceAccount: "web"}, Namespace: "shop", Machine: true}
}

// serveMachine serves one stream.
func serveMachine(t *testing.T, machines Machines) *line {
	t.Helper()
	s, err := New(Options{Registry: newWorld(), Authenticate: asWeb, Machines: machines, Log: slog.New(slog.DiscardHandler), Meter: noop.Meter{}})
	if err != nil {
		t.Fatal(err)
	}
	l := &line{t: t, isDelta: true, up: make(chan *request), down: make(chan *response, 100), ended: make(chan error, 1)}
	go func() { l.ended <- s.serve(t.Context(), l) }()
	return l
}

// TestAMachineIsRegisteredAsLongAsItsStream holds what its registration is told, in order.
func TestAMachineIsRegisteredAsLongAsItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{caller: webMachine()}
		l := serveMachine(t, y)
		l.ask(&request{node: machine(nil), typ: wire.TypeCluster, subscribe: []string{"*"}})
		l.want("it is told of the mesh", "Cluster")
		l.ask(&request{typ: wire.TypeHealth})
		l.ask(&request{typ: wire.TypeHealth, fault: &rpc.Status{Message: "the disk is full"}})
		l.ask(&request{typ: wire.TypeHealth, fault: &rpc.Status{}})
		l.want("of health nothing is answered", "")
		l.close()
		if want := []string{"vm of web at 10.0.0.1", "health ", "health the disk is full", "health no reason given", "left"}; !slices.Equal(y.noted, want) {
			t.Errorf("noted %q", y.noted)
		}
	})
}

// TestAPodTellsNothingOfItsHealth holds that the kubelet's word alone counts.
func TestAPodTellsNothingOfItsHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{}
		l := serveMachine(t, y)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*"}})
		l.ask(&request{typ: wire.TypeHealth})
		l.want("it is told of the mesh", "Cluster")
		l.close()
		if len(y.noted) != 0 {
			t.Errorf("noted %q", y.noted)
		}
	})
}

// TestMachinesThatAreRefused holds that nothing is registered for who contradicts the proof, and why a stream ends.
func TestMachinesThatAreRefused(t *testing.T) {
	pod := webMachine()
	pod.Machine, pod.Pod = false, "web-1"
	for _, c := range []struct {
		why   string
		yard  *yard
		node  map[string]string
		code  codes.Code
		noted []string
	}{
		{"a pod that names a group", &yard{caller: pod}, nil, codes.PermissionDenied, nil},
		{"another namespace", &yard{caller: webMachine()}, map[string]string{wire.MetaNamespace: "other"}, codes.PermissionDenied, nil},
		{"another account", &yard{caller: webMachine()}, map[string]string{wire.MetaServiceAccount: "admin"}, codes.PermissionDenied, nil},
		{"another entry", &yard{caller: webMachine()}, map[string]string{wire.MetaPodName: "vm-10.0.0.2"}, codes.PermissionDenied, []string{"vm of web at 10.0.0.1", "left"}},
		{"one that may not", &yard{caller: webMachine(), refusal: fmt.Errorf("%w: because", ErrNoMachine)}, nil, codes.PermissionDenied, nil},
		{"our trouble", &yard{caller: webMachine(), refusal: errors.New("connection refused")}, nil, codes.Unavailable, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := serveMachine(t, c.yard)
			l.ask(&request{node: machine(c.node), typ: wire.TypeCluster, subscribe: []string{"*"}})
			if err := <-l.ended; status.Code(err) != c.code {
				t.Errorf("%s: %v, want %s", c.why, err, c.code)
			}
			if !slices.Equal(c.yard.noted, c.noted) {
				t.Errorf("%s: noted %q", c.why, c.yard.noted)
			}
			close(l.up)
		})
	}
}

// TestWithoutMachines holds that a control plane that has none takes a machine for a pod that contradicts itself.
func TestWithoutMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serveMachine(t, nil)
		l.ask(&request{node: machine(nil), typ: wire.TypeCluster, subscribe: []string{"*"}})
		if err := <-l.ended; status.Code(err) != codes.PermissionDenied {
			t.Error(err)
		}
		close(l.up)
	})
}
