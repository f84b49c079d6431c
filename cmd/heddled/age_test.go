package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/test/bufconn"

	"github.com/heddle-mesh/heddle/sidecar/discovery"
)

// aged is a replica that notes when streams come.
type aged struct {
	ads.UnimplementedAggregatedDiscoveryServiceServer
	name string
	came func(replica string)
}

func (a aged) DeltaAggregatedResources(s ads.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	a.came(a.name)
	<-s.Context().Done()
	return nil
}

// TestStreamsComeBackNowAndThen holds that a proxy is asked to come back about every half hour, so that a replica that is new gets its share, and that it is away for
// no longer than a stream that fails anyway. Proxies that came together are not asked together.
func TestStreamsComeBackNowAndThen(t *testing.T) {
	const proxies = 20
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		began, visits := time.Now(), map[string][]time.Duration{}
		listeners := map[string]*bufconn.Listener{}
		for _, name := range []string{"old", "new"} {
			server := newGRPC(&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
			ads.RegisterAggregatedDiscoveryServiceServer(server, aged{name: name, came: func(replica string) {
				mu.Lock()
				defer mu.Unlock()
				visits[replica] = append(visits[replica], time.Since(began))
			}})
			l := bufconn.Listen(64 << 10)
			listeners[name] = l
			go func() { _ = server.Serve(l) }() // ends with Stop
			defer server.Stop()
		}
		service := "old" // leads to the other one, once that is there
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range proxies {
			client := discovery.New(discovery.Options{Sink: &proxy{held: map[string]map[string]string{}, gone: map[string]bool{}}, Log: slog.New(slog.DiscardHandler), Dial: func() (*grpc.ClientConn, error) {
				return grpc.NewClient("passthrough:///heddled", grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})),
					grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
						mu.Lock()
						to := listeners[service]
						mu.Unlock()
						return to.DialContext(ctx)
					}))
			}})
			running.Go(func() { _ = client.Run(ctx) })
		}
		time.Sleep(time.Minute)
		mu.Lock()
		service = "new"
		mu.Unlock()
		time.Sleep(39 * time.Minute)
		stop()
		running.Wait()
		mu.Lock()
		defer mu.Unlock()
		came := visits["new"]
		if len(visits["old"]) != proxies || len(came) != proxies {
			t.Fatalf("%d came to the old replica and %d to the new one, want %d", len(visits["old"]), len(came), proxies)
		}
		first, last := slices.Min(came), slices.Max(came)
		if first < 27*time.Minute || last > 33*time.Minute+15*time.Second || last-first < time.Minute {
			t.Errorf("they came to the new one from %v to %v", first, last)
		}
	})
}
