package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	orcadata "github.com/cncf/xds/go/xds/data/orca/v3"
	orcaservice "github.com/cncf/xds/go/xds/service/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// interopCases are those of gRPC's own client that need no credentials of a cloud, by its names.
func interopCases() map[string]func(context.Context, *grpc.ClientConn, func() *grpc.ClientConn) {
	type client = grpc_testing.TestServiceClient
	plain := func(do func(context.Context, client, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn, func() *grpc.ClientConn) {
		return func(ctx context.Context, c *grpc.ClientConn, _ func() *grpc.ClientConn) {
			do(ctx, grpc_testing.NewTestServiceClient(c))
		}
	}
	bare := func(do func(context.Context, client)) func(context.Context, *grpc.ClientConn, func() *grpc.ClientConn) {
		return plain(func(ctx context.Context, c client, _ ...grpc.CallOption) { do(ctx, c) })
	}
	soak := func(dialled bool) func(context.Context, *grpc.ClientConn, func() *grpc.ClientConn) {
		return func(ctx context.Context, c *grpc.ClientConn, dial func() *grpc.ClientConn) {
			channel := func() (*grpc.ClientConn, func()) { return c, func() {} }
			if dialled {
				channel = func() (*grpc.ClientConn, func()) { fresh := dial(); return fresh, func() { fresh.Close() } }
			}
			interop.DoSoakTest(ctx, interop.SoakTestConfig{RequestSize: 271828, ResponseSize: 314159, PerIterationMaxAcceptableLatency: 10 * time.Second,
				OverallTimeout: 50 * time.Second, ServerAddr: c.Target(), NumWorkers: 2, Iterations: 20, ChannelForTest: channel})
		}
	}
	return map[string]func(context.Context, *grpc.ClientConn, func() *grpc.ClientConn){
		"empty_unary": plain(interop.DoEmptyUnaryCall), "large_unary": plain(interop.DoLargeUnaryCall),
		"client_streaming": plain(interop.DoClientStreaming), "server_streaming": plain(interop.DoServerStreaming),
		"ping_pong": plain(interop.DoPingPong), "empty_stream": plain(interop.DoEmptyStream),
		"timeout_on_sleeping_server": plain(interop.DoTimeoutOnSleepingServer),
		"cancel_after_begin":         plain(interop.DoCancelAfterBegin), "cancel_after_first_response": plain(interop.DoCancelAfterFirstResponse),
		"status_code_and_message": plain(interop.DoStatusCodeAndMessage), "special_status_message": plain(interop.DoSpecialStatusMessage),
		"custom_metadata": plain(interop.DoCustomMetadata), "pick_first_unary": bare(interop.DoPickFirstUnary),
		"unimplemented_method": func(ctx context.Context, c *grpc.ClientConn, _ func() *grpc.ClientConn) {
			interop.DoUnimplementedMethod(ctx, c)
		},
		"unimplemented_service": func(ctx context.Context, c *grpc.ClientConn, _ func() *grpc.ClientConn) {
			interop.DoUnimplementedService(ctx, grpc_testing.NewUnimplementedServiceClient(c))
		},
		"rpc_soak": soak(false), "channel_soak": soak(true),
		"orca_per_rpc": bare(interop.DoORCAPerRPCTest), "orca_oob": bare(interop.DoORCAOOBTest),
	}
}

// Where these are set, the test binary is one case of gRPC's client, which ends the process where it fails.
const (
	interopCase   = "HEDDLE_INTEROP_CASE"
	interopServer = "HEDDLE_INTEROP_SERVER"
)

// TestInteropClient is one case in a process of its own; see TestInterop.
func TestInteropClient(t *testing.T) {
	name := os.Getenv(interopCase)
	if name == "" {
		return // the other processes are its
	}
	dial := func() *grpc.ClientConn {
		options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("catalog")}
		if strings.HasPrefix(name, "orca") {
			options = append(options, grpc.WithDisableServiceConfig(),
				grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`))
		}
		conn, err := grpc.NewClient("passthrough:///"+os.Getenv(interopServer), options...)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conn := dial()
	defer conn.Close()
	interopCases()[name](t.Context(), conn, dial)
	fmt.Println("passed", name)
}

// interopApp is gRPC's own test server.
func interopApp(t *testing.T) string {
	t.Helper()
	server := grpc.NewServer(orca.CallMetricsServerOption(nil))
	recorder := orca.NewServerMetricsRecorder()
	orcaservice.RegisterOpenRcaServiceServer(server, &reporter{of: recorder})
	grpc_testing.RegisterTestServiceServer(server, named{interop.NewTestServer(interop.NewTestServerOptions{MetricsRecorder: recorder})})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// named is gRPC's own test server, and says who it is, which pick_first_unary asks for.
type named struct{ grpc_testing.TestServiceServer }

// UnaryCall implements the service.
func (n named) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	out, err := n.TestServiceServer.UnaryCall(ctx, in)
	if err == nil && in.GetFillServerId() {
		out.ServerId = "catalog"
	}
	return out, err
}

// reporter reports load out of band. gRPC's own does not do so more often than every 30 s, for which its client does not wait.
type reporter struct {
	orcaservice.UnimplementedOpenRcaServiceServer
	of orca.ServerMetricsProvider
}

// StreamCoreMetrics implements the service.
func (r *reporter) StreamCoreMetrics(in *orcaservice.OrcaLoadReportRequest, s orcaservice.OpenRcaService_StreamCoreMetricsServer) error {
	tick := time.NewTicker(in.GetReportInterval().AsDuration())
	defer tick.Stop()
	for {
		m := r.of.ServerMetrics()
		if err := s.Send(&orcadata.OrcaLoadReport{CpuUtilization: m.CPUUtilization, MemUtilization: m.MemUtilization, Utilization: m.Utilization}); err != nil {
			return err
		}
		select {
		case <-s.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// TestInterop runs gRPC's own interoperability cases through the sidecars of a client and of a server, with mTLS between them.
func TestInterop(t *testing.T) {
	plane := newPlane(t)
	w := world{Inbound: ports.Free(t), Outbound: ports.Free(t), App: portOf(t, interopApp(t)),
		Identity: "spiffe://cluster.local/ns/shop/sa/catalog", Deny: "/secret", Timeout: "0s"}
	plane.push("catalog", fill(t, asHTTP2(serverResources), w))
	plane.push("web", fill(t, asHTTP2(clientResources), w))
	server, client := plane.start("catalog"), plane.start("web")
	ready(t, server)
	ready(t, client)
	t.Run("cases", func(t *testing.T) {
		for name := range interopCases() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestInteropClient$", "-test.v")
				cmd.Env = append(os.Environ(), interopCase+"="+name, interopServer+"=127.0.0.1:"+w.Outbound)
				out, err := cmd.CombinedOutput()
				if err != nil || !bytes.Contains(out, []byte("passed "+name)) {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	})
	metric(t, server, 2, "istio_requests_total", `grpc_response_status="12"`, `connection_security_policy="mutual_tls"`)
	for _, p := range []*proxy{server, client} {
		metric(t, p, 0, "heddle_proxy_panics_total")
	}
}
