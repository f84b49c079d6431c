package balancer

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
)

// A Service gets an address; one that keeps traffic on the node that it reaches is led to the node of its endpoint, and loses the route with it.
func TestBalance(t *testing.T) {
	p := plan.Default()
	client := fake.NewClientset(
		&core.Service{
			ObjectMeta: meta.ObjectMeta{Namespace: "x", Name: "local"},
			Spec:       core.ServiceSpec{Type: core.ServiceTypeLoadBalancer, ExternalTrafficPolicy: core.ServiceExternalTrafficPolicyLocal},
		},
		&discovery.EndpointSlice{
			ObjectMeta: meta.ObjectMeta{Namespace: "x", Name: "local-1", Labels: map[string]string{discovery.LabelServiceName: "local"}},
			Endpoints:  []discovery.Endpoint{{Addresses: []string{"10.0.0.1"}, NodeName: &p.Nodes[1].Name}},
		})
	b := New(client, p, slog.New(slog.DiscardHandler))
	var mu sync.Mutex
	var routes []string
	b.route = func(args ...string) error {
		mu.Lock()
		defer mu.Unlock()
		routes = append(routes, strings.Join(args, " "))
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()

	first := p.Pool.Addr().Next()
	eventually(t, "the address is published", func() bool {
		s, err := client.CoreV1().Services("x").Get(ctx, "local", meta.GetOptions{})
		return err == nil && len(s.Status.LoadBalancer.Ingress) == 1 && s.Status.LoadBalancer.Ingress[0].IP == first.String()
	})
	route := func(want string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Contains(routes, want)
		}
	}
	eventually(t, "the route leads to the endpoint's node", route("route replace "+first.String()+" via "+p.Nodes[1].Address.String()))
	if err := client.CoreV1().Services("x").Delete(ctx, "local", meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the route goes with the Service", route("route del "+first.String()))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
