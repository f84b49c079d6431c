package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
)

// balanced is a service that is balanced by a policy.
func balanced(policy string) []byte {
	return []byte(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: catalog, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: catalog-1, namespace: shop, labels: {kubernetes.io/service-name: catalog}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: catalog, namespace: shop}
spec: {host: catalog, trafficPolicy: {loadBalancer: {simple: %s}}}
`, policy))
}

// TestEnvoyComesBack has an Envoy lose its control plane, and find one again where a cluster is another than it holds and the cluster's endpoints are
// the same. Envoy waits for these before it uses the cluster.
func TestEnvoyComesBack(t *testing.T) {
	for _, world := range []bool{false, true} {
		t.Run(fmt.Sprintf("state of the world %t", world), func(t *testing.T) {
			s, f := newStage(t), newFiles(t)
			told := func(policy string) *view {
				m := newMesh(t, balanced(policy))
				return m.told(t, m.seats(naming.Class{IPv4: true, Foreign: true})[0], f)
			}
			s.view = told("RANDOM")
			e := envoy.Start(t, envoy.Options{ID: "sidecar~10.1.2.3~p.shop~shop.svc.cluster.local", Discovery: s.socket, StateOfTheWorld: world})
			e.Ready()
			says := func(want string) func() bool {
				return func() bool { return strings.Contains(e.Get("/stats?filter=cluster_manager"), want) }
			}
			s.serving.Stop()
			s.mu.Lock()
			s.view = told("ROUND_ROBIN")
			s.mu.Unlock()
			s.serve(t)
			within(t, settleWithin, "Envoy has the cluster", says("cluster_manager.cluster_modified: 1\n"))
			within(t, settleWithin, "it waits for nothing", says("cluster_manager.warming_clusters: 0\n"))
		})
	}
}
