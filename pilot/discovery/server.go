package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Options is what a Server needs.
type Options struct {
	Registry     Registry
	Authenticate Authenticate
	Machines     Machines // nil: there are none
	Log          *slog.Logger
	Meter        metric.Meter
	// Greeting is how long a stream may wait with its first request; 0: 10 s.
	Greeting time.Duration
}

// Server serves ADS.
type Server struct {
	ads.UnimplementedAggregatedDiscoveryServiceServer
	options Options
	log     *slog.Logger
	roster  *roster
	tables  *tables
	labels  map[string]metric.MeasurementOption // of counters, by type URL

	pushes, rejects, refusals metric.Int64Counter
	streams                   metric.Int64UpDownCounter
}

// New returns a Server. The error is a meter's.
func New(o Options) (*Server, error) {
	if o.Greeting == 0 {
		o.Greeting = 10 * time.Second
	}
	s := &Server{options: o, log: o.Log, roster: newRoster(), tables: newTables(), labels: map[string]metric.MeasurementOption{}}
	for _, typ := range pushOrder() {
		s.labels[typ] = metric.WithAttributeSet(attribute.NewSet(attribute.String("type", shortType(typ))))
	}
	var errs [4]error
	s.pushes, errs[0] = o.Meter.Int64Counter("heddle.xds.pushes", metric.WithDescription("resources sent or removed, by type"))
	s.rejects, errs[1] = o.Meter.Int64Counter("heddle.xds.rejects", metric.WithDescription("responses that a proxy refused, by type"))
	s.refusals, errs[2] = o.Meter.Int64Counter("heddle.xds.refusals", metric.WithDescription("streams that were refused, by gRPC code"))
	s.streams, errs[3] = o.Meter.Int64UpDownCounter("heddle.xds.streams", metric.WithDescription("connected proxies"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("registering metrics of discovery: %w", err)
	}
	return s, nil
}

// Register adds the service to a gRPC server, which is to be made with Encoding.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	ads.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// DeltaAggregatedResources serves the delta variant.
func (s *Server) DeltaAggregatedResources(stream ads.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.serve(stream.Context(), incremental{stream})
}

// StreamAggregatedResources serves the state-of-the-world variant.
func (s *Server) StreamAggregatedResources(stream ads.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.serve(stream.Context(), worldly{stream})
}

// serve runs one stream from its first request to its end.
func (s *Server) serve(ctx context.Context, v variant) (err error) {
	defer s.recovered(func(failure error) { err = failure })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var taker atomic.Pointer[stream]
	requests, failed := s.receive(ctx, v, &taker)
	first, err := s.first(ctx, requests, failed)
	if err != nil {
		return err
	}
	node := nodeOf(first.node)
	if node.Dialect, err = announced(first.node); err != nil {
		s.refuse(ctx, node, Caller{}, err)
		return err
	}
	node.OnDemand = node.OnDemand && v.delta()
	caller, machine, err := s.identify(ctx, node)
	if machine != nil {
		defer machine.Leave()
	}
	var sub Subscription
	if err == nil {
		sub, err = s.subscribe(ctx, caller, node)
	}
	if err != nil {
		s.refuse(ctx, node, caller, err)
		return err
	}
	defer sub.Close()
	client := Client{Node: node, Namespace: caller.Namespace, Pod: caller.Pod, Identity: caller.Identity.String(), Since: time.Now(), Delta: v.delta(),
		Skew: skew(node.Dialect, wire.OldestDialect, wire.Dialect)}
	entry, leave := s.roster.enter(client, sub)
	defer leave()
	s.streams.Add(ctx, 1)
	defer s.streams.Add(context.WithoutCancel(ctx), -1)
	s.log.Info("proxy connected", "node", node.ID, "identity", client.Identity, "delta", client.Delta)
	if client.Skew != "" {
		s.log.Warn("a proxy of another dialect", "node", node.ID, "proxy", client.Skew)
	}
	st := &stream{server: s, wire: v, node: node, sub: sub, machine: machine, status: entry, types: map[string]*subscribed{}}
	taker.Store(st)
	err = st.serve(ctx, first, requests, failed)
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
		s.log.Info("proxy left", "node", node.ID)
		return nil
	}
	s.log.Warn("lost a proxy", "node", node.ID, "error", err)
	return err
}

// recovered ends one stream where all would end: it is for defer.
func (s *Server) recovered(fail func(error)) {
	if p := recover(); p != nil {
		s.log.Error("serving a proxy panicked", "panic", p, "stack", string(debug.Stack()))
		fail(status.Error(codes.Internal, "internal error"))
	}
}

// receive reads requests until the stream or ctx ends. What does no more than answer is taken at once, as soon as there is somebody to take it.
func (s *Server) receive(ctx context.Context, v variant, taker *atomic.Pointer[stream]) (<-chan *request, <-chan error) {
	requests, failed := make(chan *request), make(chan error, 1)
	go func() {
		defer s.recovered(func(failure error) { failed <- failure })
		for {
			r, err := v.recv()
			if err != nil {
				failed <- err
				return
			}
			if st := taker.Load(); st != nil && st.took(r) {
				continue
			}
			select {
			case requests <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, failed
}

// first waits for the request that says who is there.
func (s *Server) first(ctx context.Context, requests <-chan *request, failed <-chan error) (*request, error) {
	timer := time.NewTimer(s.options.Greeting)
	defer timer.Stop()
	select {
	case r := <-requests:
		if r.node.GetId() == "" {
			return nil, status.Error(codes.InvalidArgument, "the first request has no node id")
		}
		return r, nil
	case err := <-failed:
		return nil, status.Errorf(codes.Canceled, "no request came: %v", err)
	case <-timer.C:
		return nil, status.Error(codes.DeadlineExceeded, "no request came")
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// identify proves the caller, and registers one that is a machine's. The Registration is to be left, where there is one.
func (s *Server) identify(ctx context.Context, node Node) (Caller, Registration, error) {
	prove := func() (Caller, error) { return s.options.Authenticate(ctx, node.Pod) }
	if node.Group != "" && s.options.Machines != nil {
		prove = func() (Caller, error) { return s.options.Machines.Prove(ctx) }
	}
	caller, err := prove()
	if err != nil {
		if status.Code(err) != codes.Unknown {
			return caller, nil, err
		}
		return caller, nil, status.Errorf(codes.Unauthenticated, "%v", err)
	}
	if caller.Machine != (node.Group != "") {
		return caller, nil, status.Errorf(codes.PermissionDenied, "%v: a pod's proxy names no WorkloadGroup, a machine's does", ErrContradiction)
	}
	var machine Registration
	if caller.Machine {
		if machine, err = s.register(ctx, caller, node); err != nil {
			return caller, nil, err
		}
		caller.Pod = machine.Entry()
	}
	if what := contradiction(node, caller); what != "" {
		return caller, machine, status.Errorf(codes.PermissionDenied, "%v: %s", ErrContradiction, what)
	}
	return caller, machine, nil
}

// register has a machine's WorkloadEntry made. What the machine says of its namespace and account is looked at first, since nothing is to be written for
// one that contradicts itself.
func (s *Server) register(ctx context.Context, caller Caller, node Node) (Registration, error) {
	entry := node.Pod
	node.Pod = ""
	if what := contradiction(node, caller); what != "" {
		return nil, status.Errorf(codes.PermissionDenied, "%v: %s", ErrContradiction, what)
	}
	node.Pod = entry
	machine, err := s.options.Machines.Register(ctx, caller, node)
	switch {
	case err == nil:
		return machine, nil
	case errors.Is(err, ErrNoMachine):
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	return nil, status.Error(codes.Unavailable, err.Error())
}

// subscribe lets a proven caller in.
func (s *Server) subscribe(ctx context.Context, caller Caller, node Node) (Subscription, error) {
	sub, err := s.options.Registry.Subscribe(ctx, caller, node)
	switch {
	case err == nil:
		return sub, nil
	case errors.Is(err, ErrContradiction):
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	return nil, status.Error(codes.Unavailable, err.Error())
}

// contradiction names the first claim that the proof belies.
func contradiction(n Node, c Caller) string {
	for _, claim := range []struct{ what, said, proven string }{
		{"namespace", n.Namespace, c.Namespace}, {"pod", n.Pod, c.Pod}, {"service account", n.ServiceAccount, c.Identity.ServiceAccount},
	} {
		if claim.said != "" && claim.said != claim.proven {
			return fmt.Sprintf("%s %q, not %q", claim.what, claim.proven, claim.said)
		}
	}
	return ""
}

// refuse logs and counts a stream that was not admitted.
func (s *Server) refuse(ctx context.Context, node Node, caller Caller, err error) {
	code := status.Code(err)
	s.refusals.Add(ctx, 1, metric.WithAttributes(attribute.String("code", code.String())))
	s.log.Warn("refused a proxy", "node", node.ID, "identity", caller.Identity.String(), "pod", caller.Namespace+"/"+caller.Pod, "error", err)
}

// nodeOf reads what a proxy says of itself: id is type~ip~pod.namespace~domain.
func nodeOf(n *core.Node) Node {
	text := func(key string) string { return n.GetMetadata().GetFields()[key].GetStringValue() }
	out := Node{
		ID: n.GetId(), Pod: text(wire.MetaPodName), Namespace: text(wire.MetaNamespace), ServiceAccount: text(wire.MetaServiceAccount),
		Version: text(wire.MetaVersion), Certificates: text(wire.MetaCertificates), Generator: text(wire.MetaGenerator),
		OnDemand: text(wire.MetaOnDemand) == "true", Group: text(wire.MetaGroup),
		Names: text(wire.MetaDNSCapture) == "true", Allocated: text(wire.MetaDNSAutoAllocate) != "false",
	}
	out.Address, _, _ = strings.Cut(text(wire.MetaInstanceIPs), ",")
	parts := strings.Split(out.ID, "~")
	out.Role = parts[0]
	if len(parts) == 4 && out.Pod == "" {
		if dot := strings.LastIndexByte(parts[2], '.'); dot >= 0 { // a pod's name may have dots, a namespace's has none
			out.Pod, out.Namespace = parts[2][:dot], parts[2][dot+1:]
		}
	}
	return out
}

// shortType is a type URL's last word: Cluster, Listener, ...
func shortType(typ string) string { return typ[strings.LastIndexByte(typ, '.')+1:] }
