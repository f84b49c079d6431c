package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// asHTTP2 makes both clusters speak HTTP/2, as pilot does for ports named grpc.
func asHTTP2(resources string) string {
	const explicit = `typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}` + "\n"
	resources = strings.ReplaceAll(resources, "type: EDS\n", "type: EDS\n"+explicit)
	resources = strings.ReplaceAll(resources, "type: STATIC\n", "type: STATIC\n"+explicit)
	return strings.ReplaceAll(resources, "alpn_protocols: [istio]", "alpn_protocols: [istio, h2]")
}

// grpcApp answers /shop.Catalog/Get with the caller's certificate header, and echoes streams on /shop.Catalog/Watch.
func grpcApp(t *testing.T) string {
	t.Helper()
	get := func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := dec(in); err != nil {
			return nil, err
		}
		if in.Value == "missing" {
			return nil, status.Error(codes.NotFound, "no such thing")
		}
		md, _ := metadata.FromIncomingContext(ctx)
		return wrapperspb.String(in.Value + " " + strings.Join(md.Get("x-forwarded-client-cert"), "")), nil
	}
	watch := func(_ any, s grpc.ServerStream) error {
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
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "shop.Catalog", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Get", Handler: get}, {MethodName: "Secret", Handler: get}},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", Handler: watch, ClientStreams: true, ServerStreams: true}}}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// TestTwoSidecarsSpeakGRPC sends unary calls and a stream from one sidecar to another over mTLS: HTTP/2 on all three hops.
func TestTwoSidecarsSpeakGRPC(t *testing.T) {
	plane := newPlane(t)
	w := world{Inbound: ports.Free(t), Outbound: ports.Free(t), App: portOf(t, grpcApp(t)),
		Identity: "spiffe://cluster.local/ns/shop/sa/catalog", Deny: "/shop.Catalog/Secret", Timeout: "0s"}
	plane.push("catalog", fill(t, asHTTP2(serverResources), w))
	plane.push("web", fill(t, asHTTP2(clientResources), w))
	server, client := plane.start("catalog"), plane.start("web")
	for _, p := range []*proxy{server, client} {
		eventually(t, "readiness", func() error {
			code, body, err := get("http://"+p.admin+"/ready", "")
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("%s", body)
			}
			return err
		})
	}
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+w.Outbound, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("catalog"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	call := func(method, text string) (string, error) {
		out := new(wrapperspb.StringValue)
		err := conn.Invoke(ctx, "/shop.Catalog/"+method, wrapperspb.String(text), out)
		return out.Value, err
	}
	if got, err := call("Get", "pot"); err != nil || !strings.Contains(got, "URI=spiffe://cluster.local/ns/shop/sa/web") {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := call("Get", "missing"); status.Code(err) != codes.NotFound {
		t.Errorf("missing: %v", err)
	}
	if _, err := call("Secret", "pot"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("denied: %v", err)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/shop.Catalog/Watch")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		out := new(wrapperspb.StringValue)
		if err := errors.Join(stream.SendMsg(wrapperspb.String("tick")), stream.RecvMsg(out)); err != nil || out.Value != "tick" {
			t.Fatalf("got %q, %v", out.Value, err)
		}
	}
	if err := errors.Join(stream.CloseSend(), ended(stream.RecvMsg(new(wrapperspb.StringValue)))); err != nil {
		t.Error(err)
	}
	for p, reporter := range map[*proxy]string{server: "destination", client: "source"} {
		metric(t, p, 2, "istio_requests_total", `reporter="`+reporter+`"`, `request_protocol="grpc"`, `grpc_response_status="0"`, `response_code="200"`)
		metric(t, p, 1, "istio_requests_total", `reporter="`+reporter+`"`, `grpc_response_status="5"`)
		metric(t, p, 1, "istio_requests_total", `reporter="`+reporter+`"`, `grpc_response_status="7"`)
		metric(t, p, 0, "heddle_proxy_panics_total")
	}
	if nacks := plane.nacks.all(); len(nacks) > 0 {
		t.Errorf("refused: %v", nacks)
	}
}

func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return fmt.Errorf("the stream ended with: %v", err)
}
