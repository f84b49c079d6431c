package http2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// echo is a gRPC service: Unary sends back what it got (or fails as it is told), Stream sends back message by message.
type echo struct {
	canceled chan struct{}
}

func (e *echo) desc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: e.unary}},
		Streams: []grpc.StreamDesc{{StreamName: "Stream", Handler: e.stream, ClientStreams: true, ServerStreams: true}},
	}
}

func (e *echo) unary(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := dec(in); err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("saw", strings.Join(md.Get("say"), ",")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("after", "word"))
	switch string(in.Value) {
	case "fail":
		return nil, status.Error(codes.FailedPrecondition, "not today: ünicode")
	case "hang":
		<-ctx.Done()
		close(e.canceled)
		return nil, ctx.Err()
	}
	return in, nil
}

func (e *echo) stream(_ any, s grpc.ServerStream) error {
	for {
		in := new(wrapperspb.BytesValue)
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

// grpcMesh is client > Server > Codec's transport > grpc-go server.
func grpcMesh(t testing.TB) (*grpc.ClientConn, *echo, *bench, *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{canceled: make(chan struct{})}
	gs := grpc.NewServer()
	gs.RegisterService(e.desc(), nil)
	go gs.Serve(l)
	t.Cleanup(gs.Stop)
	b := serve(t, &relay{dial: to(t, l.Addr().String())}, nil)
	cc, err := grpc.NewClient("passthrough:///"+b.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc, e, b, gs
}

func call(ctx context.Context, cc *grpc.ClientConn, text string, opts ...grpc.CallOption) (string, error) {
	out := new(wrapperspb.BytesValue)
	err := cc.Invoke(ctx, "/test.Echo/Unary", wrapperspb.Bytes([]byte(text)), out, opts...)
	return string(out.Value), err
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestGRPCUnary(t *testing.T) {
	cc, _, _, _ := grpcMesh(t)
	var head, tail metadata.MD
	ctx := metadata.AppendToOutgoingContext(within(t), "say", "hello")
	for range 20 {
		got, err := call(ctx, cc, "ping", grpc.Header(&head), grpc.Trailer(&tail))
		if err != nil || got != "ping" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if fmt.Sprint(head.Get("saw")) != "[hello]" || fmt.Sprint(tail.Get("after")) != "[word]" {
		t.Errorf("metadata: header %v, trailer %v", head, tail)
	}
}

func TestGRPCErrorPassesThrough(t *testing.T) {
	cc, _, _, _ := grpcMesh(t)
	_, err := call(within(t), cc, "fail")
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "not today: ünicode" {
		t.Errorf("got %v", err)
	}
}

func TestGRPCCancelReachesUpstream(t *testing.T) {
	cc, e, _, _ := grpcMesh(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := call(ctx, cc, "hang"); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	select {
	case <-e.canceled:
	case <-time.After(5 * time.Second):
		t.Error("the upstream never learned that the client gave up")
	}
}

func TestGRPCStreams(t *testing.T) {
	cc, _, _, _ := grpcMesh(t)
	ctx := within(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			s, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Echo/Stream")
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 50 {
				want := bytes.Repeat([]byte{byte(i)}, i*37)
				got := new(wrapperspb.BytesValue)
				if err := errors.Join(s.SendMsg(wrapperspb.Bytes(want)), s.RecvMsg(got)); err != nil || !bytes.Equal(got.Value, want) {
					t.Errorf("message %d: %v", i, err)
					return
				}
			}
			if err := s.CloseSend(); err != nil {
				t.Error(err)
			}
			if err := s.RecvMsg(new(wrapperspb.BytesValue)); err != io.EOF {
				t.Errorf("end: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestGRPCLargeMessages(t *testing.T) {
	cc, _, _, _ := grpcMesh(t)
	big := strings.Repeat("0123456789abcdef", 200<<10) // 3.2 MB: several windows
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := call(within(t), cc, big); err != nil || got != big {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestGRPCUpstreamDiesInsideResponse(t *testing.T) {
	cc, _, _, gs := grpcMesh(t)
	s, err := cc.NewStream(within(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Echo/Stream")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.SendMsg(wrapperspb.Bytes([]byte("x"))), s.RecvMsg(new(wrapperspb.BytesValue))); err != nil {
		t.Fatal(err)
	}
	gs.Stop()
	if err := s.RecvMsg(new(wrapperspb.BytesValue)); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestGRPCUpstreamDrains(t *testing.T) {
	cc, _, _, gs := grpcMesh(t)
	s, err := cc.NewStream(within(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Echo/Stream")
	if err != nil {
		t.Fatal(err)
	}
	round := func() error {
		return errors.Join(s.SendMsg(wrapperspb.Bytes([]byte("x"))), s.RecvMsg(new(wrapperspb.BytesValue)))
	}
	if err := round(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { gs.GracefulStop(); close(stopped) }()
	time.Sleep(50 * time.Millisecond)
	for range 3 {
		if err := round(); err != nil {
			t.Fatalf("a stream was cut by a graceful end: %v", err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(wrapperspb.BytesValue)); err != io.EOF {
		t.Errorf("end: %v", err)
	}
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("the transport kept its connection although the upstream went away")
	}
}

func TestDrainFinishesStreamsAndRefusesNone(t *testing.T) {
	cc, _, b, _ := grpcMesh(t)
	s, err := cc.NewStream(within(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Echo/Stream")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.SendMsg(wrapperspb.Bytes([]byte("x"))), s.RecvMsg(new(wrapperspb.BytesValue))); err != nil {
		t.Fatal(err)
	}
	b.drain.Begin()
	for range 20 {
		if _, err := call(within(t), cc, "during"); err != nil {
			t.Fatalf("call during drain: %v", err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(wrapperspb.BytesValue)); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

var _ exchange.Transport = (*clientConn)(nil)
