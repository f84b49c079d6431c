package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The stock service: shop.v1.Stock/Count takes an item's name and says how many there are, and which version answered.
const stockCount = "/shop.v1.Stock/Count"

var stockService = grpc.ServiceDesc{
	ServiceName: "shop.v1.Stock",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Count", Handler: countHandler}},
}

func countHandler(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	var name wrapperspb.StringValue
	if err := decode(&name); err != nil {
		return nil, err
	}
	count := func(context.Context, any) (any, error) {
		return wrapperspb.String(fmt.Sprintf("%s %d %s", name.Value, 3+len(name.Value)%7, version())), nil
	}
	if intercept == nil {
		return count(ctx, &name)
	}
	return intercept(ctx, &name, &grpc.UnaryServerInfo{FullMethod: stockCount}, count)
}

// runStock serves gRPC.
func runStock(ctx context.Context, _ []string) error {
	l, err := net.Listen("tcp", env("LISTEN", ":9090"))
	if err != nil {
		return fmt.Errorf("listening for gRPC: %w", err)
	}
	s := grpc.NewServer()
	s.RegisterService(&stockService, struct{}{})
	healthpb.RegisterHealthServer(s, health.NewServer())
	go func() {
		<-ctx.Done()
		time.Sleep(lameDuck)
		s.GracefulStop()
	}()
	return s.Serve(l)
}

// stockClient asks the stock service over one connection that lives as long as the process.
type stockClient struct{ conn *grpc.ClientConn }

func newStockClient(target string) (*stockClient, error) {
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("dialling stock: %w", err)
	}
	return &stockClient{conn}, nil
}

func (c *stockClient) count(ctx context.Context, name string) (string, error) {
	var out wrapperspb.StringValue
	if err := c.conn.Invoke(ctx, stockCount, wrapperspb.String(name), &out); err != nil {
		return "", err
	}
	return out.Value, nil
}
