package generate_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// gateways are three of one Gateway: behind a load balancer as its annotation says, behind what the mesh says, and one whose annotation cannot be read.
const gateways = `
apiVersion: v1
kind: ConfigMap
metadata: {name: heddle, namespace: heddle-system}
data: {mesh: "defaultConfig: {gatewayTopology: {numTrustedProxies: 1, forwardClientCertDetails: ALWAYS_FORWARD_ONLY}}"}
---
apiVersion: v1
kind: Pod
metadata: {name: own, namespace: edge, labels: {istio: edge}, annotations: {proxy.istio.io/config: "gatewayTopology: {numTrustedProxies: 2, proxyProtocol: {}}"}}
spec: {serviceAccountName: own}
status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: edge, labels: {istio: edge}}
spec: {serviceAccountName: own}
status: {phase: Running, podIP: 10.1.0.2, podIPs: [{ip: 10.1.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: wrong, namespace: edge, labels: {istio: edge}, annotations: {proxy.istio.io/config: "gatewayTopology: {numTrustedProxies: 3, hops: 2}"}}
spec: {serviceAccountName: own}
status: {phase: Running, podIP: 10.1.0.3, podIPs: [{ip: 10.1.0.3}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
`

// TestEachGatewayHasItsOwnTopology holds that what a pod says of what stands before it is for it alone, in place of all that the mesh says.
func TestEachGatewayHasItsOwnTopology(t *testing.T) {
	in, err := source.FromYAML([]byte(gateways))
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _ := translate.Translate(in, nil)
	endpoints, workloads := translate.Endpoints(in, nil)
	m, ix := generate.NewMemo(), generate.NewIndex(snapshot, endpoints, nil)
	for _, c := range []struct {
		pod, hops, cert string
		introduced      bool
		unread          string
	}{
		{pod: "own", hops: `"xffNumTrustedHops":2`, cert: `"forwardClientCertDetails":"SANITIZE_SET"`, introduced: true},
		{pod: "plain", hops: `"xffNumTrustedHops":1`, cert: `"forwardClientCertDetails":"ALWAYS_FORWARD_ONLY"`},
		{pod: "wrong", hops: `"xffNumTrustedHops":1`, cert: `"forwardClientCertDetails":"ALWAYS_FORWARD_ONLY"`, unread: "gatewayTopology.hops"},
	} {
		w := workloads.ByName[model.Name{Namespace: "edge", Name: c.pod}]
		scope := generate.ScopeOf(ix, w, naming.Class{Router: true, IPv4: true}, m)
		var listener string
		for _, r := range generate.GenerateEdge(ix, scope.Outbound, scope.Edge, m).All(wire.TypeListener) {
			text, err := protojson.Marshal(&anypb.Any{TypeUrl: r.Type, Value: r.Body})
			if err != nil {
				t.Fatal(err)
			}
			listener += strings.ReplaceAll(string(text), " ", "")
		}
		if !strings.Contains(listener, c.hops) || !strings.Contains(listener, c.cert) || strings.Contains(listener, "proxy_protocol") != c.introduced {
			t.Errorf("%s: %s", c.pod, listener)
		}
		if !strings.Contains(w.Unread, c.unread) || (w.Unread == "") != (c.unread == "") {
			t.Errorf("%s: problem %q", c.pod, w.Unread)
		}
	}
}
