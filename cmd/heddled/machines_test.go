package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/registration"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// group is machines that act for the account sql, and the Service that they are behind.
const group = `apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db, namespace: shop}
spec: {metadata: {labels: {app: db}}, template: {serviceAccount: sql, ports: {tcp: 15432}}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], selector: {app: db}, ports: [{name: tcp, port: 80, targetPort: 5432}]}
`

// letMachines has the mesh let machines register themselves, and the replicas be pods.
const letMachines = `apiVersion: v1
kind: ConfigMap
metadata: {name: heddle, namespace: heddle-system}
data: {mesh: '', machines: 'true'}
---
apiVersion: v1
kind: Pod
metadata: {name: heddled-1, namespace: heddle-system}
status: {phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: heddled-2, namespace: heddle-system}
status: {phase: Running}
`

// sql is the account of the group.
func sql() spiffe.Identity {
	return spiffe.Identity{TrustDomain: wire.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "sql"}
}

// proven runs a machine's workload, which has a token that is bound to nothing, until the test ends.
func (x *replicated) proven() (*identity.Workload, identity.ControlPlane) {
	x.write("machine", "shop~sql")
	roots := identity.NewRoots(x.path("root.pem"))
	plane := identity.ControlPlane{Address: x.way.address, TokenPath: x.path("machine"), Roots: roots, Machine: true}
	w := identity.New(identity.Options{Expected: sql(), TTL: time.Hour, Authority: identity.RemoteAuthority{ControlPlane: plane}, Roots: roots, Log: slog.New(slog.DiscardHandler)})
	plane.Certificate = w.Certificate
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	x.t.Cleanup(func() { stop(); <-done })
	return w, plane
}

// controller is whose the machine's entry is; "": there is none.
func (x *replicated) controller() string {
	o := x.api.find("networking.istio.io/v1/workloadentries", "shop/db-192.0.2.9")
	if o == nil {
		return ""
	}
	says, _ := metaOf(o)["annotations"].(map[string]any)
	text, _ := says[wire.RegistrationController].(string)
	return text
}

// machine is the node of the group's one machine.
func machineNode() discovery.Node {
	return discovery.Node{Type: wire.NodeSidecar, IPs: []string{"192.0.2.9"}, Pod: "db-192.0.2.9", Namespace: "shop", ServiceAccount: "sql", Group: "db",
		ClusterID: wire.DefaultClusterID, ClusterDomain: wire.DefaultClusterDomain}
}

// reached reports whether the proxy has an endpoint of the Service db at the machine.
func (p *proxy) reached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.held[wire.TypeEndpoints][clusterOf("db")], "192.0.2.9")
}

// asking asks for a certificate.
func asking(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestMachines runs two heddleds, a pod's proxy and a machine's: it is refused, let in, reached, moved, and gone.
func TestMachines(t *testing.T) {
	x := startReplicas(t)
	p := x.connect()
	x.api.apply(group)
	eventually(t, "the pod's proxy is told of the Service", func() bool { return p.has("db") })
	workload, plane := x.proven()
	if _, err := (identity.RemoteAuthority{ControlPlane: plane}).Sign(t.Context(), asking(t), time.Hour); err == nil || !strings.Contains(err.Error(), "machine") {
		t.Errorf("a mesh that lets no machine: %v", err)
	}
	x.api.apply(letMachines)
	select {
	case <-workload.Ready():
	case <-time.After(patience):
		t.Fatal("the machine has no certificate")
	}
	m, end := x.connectAs(machineNode(), plane)
	eventually(t, "the machine is told of the mesh", func() bool { return m.has("web") })
	eventually(t, "the pod's proxy reaches the machine", p.reached)
	if got, want := x.controller(), registration.Controller(types.NamespacedName{Namespace: "heddle-system", Name: "heddled-1"}); got != want {
		t.Errorf("the entry is %s's, want %s's", got, want)
	}
	t.Run("who is no machine of the group", func(t *testing.T) {
		for why, node := range map[string]func(*discovery.Node){
			"another group": func(n *discovery.Node) { n.Group = "web" }, "another account": func(n *discovery.Node) { n.ServiceAccount = "web" },
			"a pod": func(n *discovery.Node) { n.Group, n.Pod = "", "web-1" }, "another's address": func(n *discovery.Node) { n.IPs = []string{"127.0.0.1"} },
			"another entry": func(n *discovery.Node) { n.Pod = "db-192.0.2.8" },
		} {
			n := machineNode()
			node(&n)
			got, end := x.connectAs(n, plane)
			eventually(t, why+" is refused", func() bool { return got.dials.Load() > 1 })
			end()
			if len(got.held) != 0 {
				t.Errorf("%s was let in", why)
			}
		}
	})
	t.Run("its certificate renews itself", func(t *testing.T) {
		x.write("machine", "of no use any more")
		answer, err := identity.RemoteAuthority{ControlPlane: plane}.Sign(t.Context(), asking(t), time.Hour)
		if err != nil || len(answer.Chain) == 0 {
			t.Error(err)
		}
		pods := x.plane
		pods.TokenPath, pods.Machine = x.path("machine"), true
		if _, err := (identity.RemoteAuthority{ControlPlane: pods}).Sign(t.Context(), asking(t), time.Hour); err == nil {
			t.Error("so does a pod's")
		}
	})
	t.Run("it goes to another replica", func(t *testing.T) {
		x.way.redirect(x.replicas[1].config.serve.discovery)
		eventually(t, "the other replica has it", func() bool { return strings.HasSuffix(x.controller(), "/heddled-2") })
		x.stop[0]()
		if !p.reached() {
			t.Error("its endpoint was taken away meanwhile")
		}
	})
	t.Run("it leaves", func(t *testing.T) {
		end()
		eventually(t, "its entry is removed", func() bool { return x.controller() == "" })
		eventually(t, "its endpoint goes", func() bool { return !p.reached() })
	})
}
