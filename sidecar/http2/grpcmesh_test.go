package http2_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// service answers unary calls as handle says, and echoes streams.
func service(t testing.TB, handle func(ctx context.Context, in string) (string, error), opts ...grpc.ServerOption) (addr string, gs *grpc.Server) {
	t.Helper()
	unary := func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := dec(in); err != nil {
			return nil, err
		}
		out, err := handle(ctx, in.Value)
		return wrapperspb.String(out), err
	}
	stream := func(_ any, s grpc.ServerStream) error {
		for {
			in := new(wrapperspb.StringValue)
			if err := s.RecvMsg(in); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(in); err != nil {
				return err
			}
		}
	}
	gs = grpc.NewServer(opts...)
	gs.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.S", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
		Streams: []grpc.StreamDesc{{StreamName: "Stream", Handler: stream, ClientStreams: true, ServerStreams: true}},
	}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go gs.Serve(l)
	t.Cleanup(gs.Stop)
	return l.Addr().String(), gs
}

func grpcClient(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func unary(ctx context.Context, cc *grpc.ClientConn, text string) (string, error) {
	out := new(wrapperspb.StringValue)
	err := cc.Invoke(ctx, "/test.S/Unary", wrapperspb.String(text), out)
	return out.Value, err
}

func short(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func answers(context.Context, string) (string, error) { return "yes", nil }

func TestGRPCOutcomes(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	free.Close()
	for name, c := range map[string]struct {
		o    options
		addr string
		code codes.Code
		flag string
	}{
		"an answer":        {code: codes.OK, flag: "-"},
		"no route":         {o: options{route: func(r *route.RouteConfig) { r.Match.Path = "/other" }}, code: codes.Unimplemented, flag: "NR"},
		"no cluster":       {o: options{route: func(r *route.RouteConfig) { r.Clusters[0].Cluster = "x" }}, code: codes.Unavailable, flag: "NC"},
		"no endpoint":      {o: options{cluster: func(c *upstream.Config) { c.Endpoints = nil }}, code: codes.Unavailable, flag: "UH"},
		"nobody listening": {addr: nobody, code: codes.Unavailable, flag: "UF"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := service(t, answers)
			if c.addr != "" {
				addr = c.addr
			}
			c.o.h2Down, c.o.h2Up = true, true
			m := build(t, addr, c.o)
			if _, err := unary(short(t), grpcClient(t, m.addr), "x"); status.Code(err) != c.code {
				t.Errorf("got %v, want %v", err, c.code)
			}
			e := m.log.wait(t, 1)
			if e.flags != c.flag {
				t.Errorf("recorded %+v", e)
			}
			if e.grpc != int(c.code) {
				t.Errorf("recorded grpc-status %d", e.grpc)
			}
		})
	}
}

func TestGRPCStatusOfTrailersIsRecorded(t *testing.T) {
	addr, _ := service(t, func(context.Context, string) (string, error) { return "", status.Error(codes.NotFound, "lost") })
	m := build(t, addr, options{h2Down: true, h2Up: true})
	cc := grpcClient(t, m.addr)
	if _, err := unary(short(t), cc, "x"); status.Code(err) != codes.NotFound {
		t.Errorf("got %v", err)
	}
	if e := m.log.wait(t, 1); e.grpc != 5 || e.status != 200 || e.outcome != exchange.OK {
		t.Errorf("recorded %+v", e)
	}
}

func TestGRPCRetriesOnStatus(t *testing.T) {
	var calls atomic.Int32
	addr, _ := service(t, func(context.Context, string) (string, error) {
		if calls.Add(1) < 3 {
			return "", status.Error(codes.Unavailable, "not yet")
		}
		return "now", nil
	})
	m := build(t, addr, options{h2Down: true, h2Up: true, route: func(r *route.RouteConfig) {
		r.Retry = &route.Retry{On: route.OnGRPCUnavailable, Attempts: 2, Base: time.Millisecond}
	}})
	if got, err := unary(short(t), grpcClient(t, m.addr), "x"); got != "now" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if e := m.log.wait(t, 1); e.attempts != 3 || e.grpc != 0 {
		t.Errorf("recorded %+v", e)
	}
}

// TestGRPCMaxStreamOfCluster holds that a try that lasts longer than its cluster lets it is reset upstream, and that the client is told; one before it had all
// its time for itself on the same connection.
func TestGRPCMaxStreamOfCluster(t *testing.T) {
	gone := make(chan error, 1)
	addr, _ := service(t, func(ctx context.Context, in string) (string, error) {
		if in == "quick" {
			time.Sleep(200 * time.Millisecond)
			return "done", nil
		}
		<-ctx.Done()
		gone <- ctx.Err()
		return "", nil
	})
	m := build(t, addr, options{h2Down: true, h2Up: true, cluster: func(c *upstream.Config) { c.MaxStream = 500 * time.Millisecond }})
	cc := grpcClient(t, m.addr)
	for n := range 4 {
		if got, err := unary(short(t), cc, "quick"); got != "done" {
			t.Fatalf("call %d: %q, %v", n, got, err)
		}
	}
	if _, err := unary(short(t), cc, "slow"); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "upstream max stream duration reached" {
		t.Errorf("got %v", err)
	}
	if e := m.log.wait(t, 5); e.outcome != exchange.UpstreamDuration || e.flags != "UMSDR" || e.grpc != 14 {
		t.Errorf("recorded %+v", e)
	}
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the server was told %v", err)
	}
	s, err := cc.NewStream(short(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.S/Stream")
	if err != nil {
		t.Fatal(err)
	}
	out := new(wrapperspb.StringValue)
	for err == nil { // both go on, and it ends all the same
		if err = s.SendMsg(wrapperspb.String("x")); err == nil || err == io.EOF {
			err = s.RecvMsg(out)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if e := m.log.wait(t, 6); e.outcome != exchange.UpstreamDuration || e.flags != "UMSDR" || out.Value != "x" {
		t.Errorf("after %q: recorded %+v, and the client %v", out.Value, e, err)
	}
}

func TestGRPCTimeouts(t *testing.T) {
	addr := origin(t, true, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }) // who knows of no deadline of its own
	most := 100 * time.Millisecond
	for name, c := range map[string]struct {
		set   func(*route.RouteConfig)
		flags string
	}{
		"the route's":            {func(r *route.RouteConfig) { r.Timeout = most }, "UT"},
		"the client's, when cut": {func(r *route.RouteConfig) { r.GRPC = &route.GRPCTimeout{Max: most} }, "-"},
		"that of calls":          {func(r *route.RouteConfig) { r.GRPC = &route.GRPCTimeout{Max: most, Calls: true} }, "UT"},
	} {
		t.Run(name, func(t *testing.T) {
			m := build(t, addr, options{h2Down: true, h2Up: true, route: c.set})
			begun := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			_, err := unary(ctx, grpcClient(t, m.addr), "x")
			if status.Code(err) != codes.DeadlineExceeded || time.Since(begun) > 5*time.Second {
				t.Errorf("got %v after %v", err, time.Since(begun))
			}
			if e := m.log.wait(t, 1); e.grpc != 4 || e.flags != c.flags {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}

func TestGRPCStreamThroughForward(t *testing.T) {
	addr, gs := service(t, answers)
	m := build(t, addr, options{h2Down: true, h2Up: true})
	s, err := grpcClient(t, m.addr).NewStream(short(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.S/Stream")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		out := new(wrapperspb.StringValue)
		if err := errors.Join(s.SendMsg(wrapperspb.String("ping")), s.RecvMsg(out)); err != nil || out.Value != "ping" {
			t.Fatalf("got %q, %v", out.Value, err)
		}
	}
	gs.Stop()
	if err := s.RecvMsg(new(wrapperspb.StringValue)); status.Code(err) != codes.Unavailable {
		t.Errorf("a broken stream ended with %v", err)
	}
	if e := m.log.wait(t, 1); e.outcome != exchange.UpstreamAborted || e.grpc != 14 || e.recv != 1100 || e.sent != 1100 {
		t.Errorf("recorded %+v", e)
	}
}

// One connection serves until the peer's limit, then there is a second one.
func TestGRPCMoreStreamsThanOneConnectionHolds(t *testing.T) {
	var running, most atomic.Int32
	gate := make(chan struct{})
	addr, _ := service(t, func(context.Context, string) (string, error) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer running.Add(-1)
		<-gate
		return "", nil
	})
	m := build(t, addr, options{h2Down: true, h2Up: true, cluster: func(c *upstream.Config) { c.Limits.Streams = 4 }})
	cc := grpcClient(t, m.addr)
	errs := make(chan error)
	for range 20 {
		go func() { _, err := unary(short(t), cc, "x"); errs <- err }()
	}
	for start := time.Now(); running.Load() < 20 && time.Since(start) < 5*time.Second; time.Sleep(time.Millisecond) {
	}
	close(gate)
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 20 {
		t.Errorf("%d of 20 calls ran at a time", most.Load())
	}
}

func TestGRPCMetadataBothWays(t *testing.T) {
	addr, _ := service(t, func(ctx context.Context, _ string) (string, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		_ = grpc.SendHeader(ctx, metadata.Pairs("head-bin", "\x00\x01"))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("tail", "end"))
		return strings.Join(md.Get("say"), "+") + strings.Join(md.Get("raw-bin"), "+"), nil
	})
	m := build(t, addr, options{h2Down: true, h2Up: true})
	var head, tail metadata.MD
	ctx := metadata.AppendToOutgoingContext(short(t), "say", "a", "say", "b", "raw-bin", "x\x00")
	out := new(wrapperspb.BytesValue)
	err := grpcClient(t, m.addr).Invoke(ctx, "/test.S/Unary", wrapperspb.String(""), out, grpc.Header(&head), grpc.Trailer(&tail))
	if err != nil || string(out.Value) != "a+bx\x00" {
		t.Fatal(err)
	}
	if strings.Join(head.Get("head-bin"), "") != "\x00\x01" || strings.Join(tail.Get("tail"), "") != "end" {
		t.Errorf("header %v, trailer %v", head, tail)
	}
}

// A server that ends its connections all the time, gracefully, costs no call, and no retry policy is needed for that.
func TestGRPCConnectionsThatAge(t *testing.T) {
	addr, _ := service(t, answers, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 20 * time.Millisecond, MaxConnectionAgeGrace: 5 * time.Second}))
	m := build(t, addr, options{h2Down: true, h2Up: true})
	cc := grpcClient(t, m.addr)
	ctx := short(t)
	var wg sync.WaitGroup
	var calls atomic.Int32
	for range 8 {
		wg.Go(func() {
			for begun := time.Now(); time.Since(begun) < time.Second || calls.Load() < 100; calls.Add(1) { // short ends it where calls hang
				if _, err := unary(ctx, cc, "x"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Calls that are given up at any moment must not disturb those that are not: streams and their memory are used again.
func TestGRPCCancellationsDisturbNobody(t *testing.T) {
	addr, _ := service(t, func(ctx context.Context, in string) (string, error) {
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		return in, nil
	})
	m := build(t, addr, options{h2Down: true, h2Up: true, route: func(r *route.RouteConfig) { r.Timeout = 10 * time.Second }})
	cc := grpcClient(t, m.addr)
	ctx := short(t)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			for until := time.Now().Add(time.Second); time.Now().Before(until); {
				if i%2 == 0 {
					gone, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
					_, _ = unary(gone, cc, strings.Repeat("x", rand.IntN(40_000)))
					cancel()
					continue
				}
				want := strings.Repeat(string(rune('a'+i)), rand.IntN(100_000))
				if got, err := unary(ctx, cc, want); err != nil || got != want {
					t.Errorf("sent %d bytes, got %d: %v", len(want), len(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A stream lives through every swap; a new call sees the new configuration, or is refused where there is none for it.
func TestGRPCSwapsCutNothing(t *testing.T) {
	old, _ := service(t, func(context.Context, string) (string, error) { return "old", nil })
	fresh, _ := service(t, func(context.Context, string) (string, error) { return "new", nil })
	m := build(t, old, options{h2Down: true, h2Up: true})
	cc := grpcClient(t, m.addr)
	s, err := cc.NewStream(short(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.S/Stream")
	if err != nil {
		t.Fatal(err)
	}
	round := func() {
		t.Helper()
		out := new(wrapperspb.StringValue)
		if err := errors.Join(s.SendMsg(wrapperspb.String("ping")), s.RecvMsg(out)); err != nil || out.Value != "ping" {
			t.Fatalf("got %q, %v", out.Value, err)
		}
	}
	round()
	next, moved := *m.conf, *m.conf.Clusters["up"]
	moved.Endpoints = []*exchange.Endpoint{{Address: netip.MustParseAddrPort(fresh), Weight: 1}}
	next.Clusters = map[string]*upstream.Config{"up": &moved}
	m.store.Swap(&next)
	if got, err := unary(short(t), cc, ""); got != "new" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	round()
	gone := next
	gone.Listeners = nil
	m.store.Swap(&gone)
	if _, err := unary(short(t), cc, ""); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	round()
	if err := errors.Join(s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(wrapperspb.StringValue)); err != io.EOF {
		t.Errorf("the stream ended with %v", err)
	}
}
