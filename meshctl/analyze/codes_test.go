package analyze_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/heddle-mesh/heddle/meshctl/analyze"
	"github.com/heddle-mesh/heddle/meshctl/survey"
	"github.com/heddle-mesh/heddle/pilot/source"
)

// sound is a mesh of which there is nothing to say: what the cases of TestCodes add to.
const sound = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {heddle-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: apart, labels: {heddle-injection: disabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: heddle-system}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {metadata: {labels: {app: web, version: v1}}, spec: {containers: [{name: a, image: a}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: edge, namespace: shop}, spec: {template: {metadata: {labels: {istio: edge}}, spec: {containers: [{name: heddle-proxy, image: a, args: [gateway]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: two, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp, port: 90, appProtocol: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: far, namespace: shop}, spec: {type: ExternalName, externalName: example.com, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: edge, namespace: shop}, spec: {selector: {istio: edge}, ports: [{name: http, port: 80}, {name: https, port: 443}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}, spec: {selector: {istio: edge}, servers: [
  {port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}, {port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: a}}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}, spec: {hosts: [web], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: web, subset: v1}}]}, {route: [{destination: {host: two, port: {number: 80}}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web, namespace: shop}, spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: all, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}, spec: {egress: [{hosts: ["*/*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: web, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}, spec: {workloadSelector: {labels: {app: web}}, egress: [{hosts: ["*/*"]}]}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: all, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}, spec: {mtls: {mode: STRICT}}}
`

// TestCodes has a mistake of each kind: it is found, under the code of Istio's analysis, and nothing else is.
func TestCodes(t *testing.T) {
	certificate := pair(t)
	for what, c := range map[string]struct{ add, want string }{
		"nothing": {},
		"a host that is not there": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{route: [{destination: {host: nobody}}]}]}}`,
			"IST0101 VirtualService shop/v spec.http[0].route[0].destination.host"},
		"a subset that is not there": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{route: [{destination: {host: web, subset: v2}}]}]}}`,
			"IST0101 VirtualService shop/v spec.http[0].route[0].destination.subset"},
		"a gateway that is not there": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [b.example.com], gateways: [nowhere], http: [{route: [{destination: {host: web}}]}]}}`,
			"IST0101 VirtualService shop/v spec.gateways[0]"},
		"a gateway without pods": {`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop}, spec: {selector: {istio: nobody}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example.com]}]}}`,
			"IST0101 Gateway shop/g spec.selector"},
		"a namespace that says nothing": {`{apiVersion: v1, kind: Namespace, metadata: {name: quiet}}`, "IST0102 Namespace quiet metadata.labels"},
		"a field that there is not":     {`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: far, hots: 1}}`, "IST0106 DestinationRule shop/d spec.hots"},
		"a value that is not allowed": {`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: far, trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}}}`,
			"IST0106 DestinationRule shop/d spec.trafficPolicy.connectionPool.tcp.maxConnections"},
		"a second rule for a host": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}, spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}}`,
			"IST0109 VirtualService shop/v spec.hosts[0]"},
		"a second Sidecar of all that one selects": {`{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: s, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}, spec: {workloadSelector: {labels: {app: web, version: v1}}, egress: [{hosts: ["*/*"]}]}}`,
			"IST0110 Sidecar shop/s spec.workloadSelector"},
		"a second Sidecar of a pod": {`{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: s, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}, spec: {workloadSelector: {labels: {version: v1}}, egress: [{hosts: ["*/*"]}]}}`,
			"IST0110 Sidecar shop/s spec.workloadSelector"},
		"a second Sidecar of a namespace": {`{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: s, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}, spec: {egress: [{hosts: ["./*"]}]}}`, "IST0111 Sidecar shop/s spec"},
		"one of two ports": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{route: [{destination: {host: two}}]}]}}`,
			"IST0112 VirtualService shop/v spec.http[0].route[0].destination.port"},
		"one of two ports, of a mirror": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{mirror: {host: two}, route: [{destination: {host: web}}]}]}}`,
			"IST0112 VirtualService shop/v spec.http[0].mirror.port"},
		"one of two ports, of mirrors": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{mirrors: [{destination: {host: two}}], route: [{destination: {host: web}}]}]}}`,
			"IST0112 VirtualService shop/v spec.http[0].mirrors[0].destination.port"},
		"a port without a protocol":             {`{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, spec: {selector: {app: web}, ports: [{name: x, port: 80}, {name: y, port: 53, protocol: UDP}]}}`, "IST0118 Service shop/s spec.ports[0].name"},
		"two labels":                            {`{apiVersion: v1, kind: Namespace, metadata: {name: both, labels: {heddle-injection: enabled, heddle.io/rev: canary}}}`, "IST0123 Namespace both metadata.labels"},
		"a rule after one that takes all":       {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{route: [{destination: {host: web}}]}, {route: [{destination: {host: web}}]}]}}`, "IST0130 VirtualService shop/v spec.http[1]"},
		"a rule of which nothing is left":       {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{match: [{uri: {prefix: /}}], route: [{destination: {host: web}}]}, {match: [{uri: {prefix: /}}], route: [{destination: {host: web}}]}]}}`, "IST0130 VirtualService shop/v spec.http[1]"},
		"a match that an earlier rule has, too": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: web}}]}, {match: [{uri: {exact: /}}, {uri: {prefix: /a}}], route: [{destination: {host: web}}]}]}}`, "IST0131 VirtualService shop/v spec.http[1].match[1]"},
		"a match below an earlier prefix":       {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: web}}]}, {match: [{uri: {exact: /}}, {uri: {prefix: /a/b}}], route: [{destination: {host: web}}]}]}}`, "IST0131 VirtualService shop/v spec.http[1].match[1]"},
		"bytes that an earlier rule takes":      {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [far], tcp: [{route: [{destination: {host: web}}]}, {match: [{port: 80}], route: [{destination: {host: web}}]}]}}`, "IST0130 VirtualService shop/v spec.tcp[1]"},
		"a host that the gateway has not": {`{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [b.example.com], gateways: [edge], http: [{route: [{destination: {host: web}}]}]}}`,
			"IST0132 VirtualService shop/v spec.hosts[0]"},
		"a certificate of two gateways": {`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}, spec: {selector: {istio: edge}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [b.example.com], tls: {mode: SIMPLE, credentialName: a}}]}}`,
			"IST0138 Gateway shop/g spec.servers[0].tls.credentialName"},
		"a host of two gateways": {`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}, spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}}`,
			"IST0145 Gateway shop/g spec.servers[0]"},
		"an alias's port": {`{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, spec: {type: ExternalName, externalName: example.com, ports: [{name: x, port: 80}]}}`, "IST0150 Service shop/s spec.ports[0].name"},
		"a Secret that is no certificate": {gateway("bad") + "\n---\n{apiVersion: v1, kind: Secret, metadata: {name: bad, namespace: shop}, stringData: {tls.crt: a, tls.key: b}}",
			"IST0161 Gateway shop/g spec.servers[0].tls.credentialName"},
		"a Secret that is one": {gateway("good") + "\n---\n" + fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: good, namespace: shop}, stringData: {cert: %q, key: %q}}", certificate[0], certificate[1]), ""},
		"a port that no Service has": {`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop}, spec: {selector: {istio: edge}, servers: [{port: {number: 81, name: http, protocol: HTTP}, hosts: [b.example.com]}]}}`,
			"IST0162 Gateway shop/g spec.servers[0].port.number"},
		"a policy without effect": {`{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: p, namespace: shop, creationTimestamp: "2026-01-02T00:00:00Z"}, spec: {mtls: {mode: DISABLE}}}`, "IST0167 PeerAuthentication shop/p spec"},
		"a subset of nobody": {`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: two, subsets: [{name: all}, {name: v9, labels: {version: v9}}]}}`,
			"IST0173 DestinationRule shop/d spec.subsets[1].labels"},
		"a subset of a zone, of pods that may run there":  {`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: two, subsets: [{name: a, labels: {topology.kubernetes.io/zone: a}}]}}`, ""},
		"a gateway in a zone, of pods that may run there": {`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop}, spec: {selector: {istio: edge, topology.kubernetes.io/zone: a}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example.com]}]}}`, ""},
		"a rule for nobody": {`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: nobody}}`, "IST0174 DestinationRule shop/d spec.host"},
		"a plugin":          {plugin, "IST0106 WasmPlugin shop/filter "},
	} {
		found, err := analyze.Analyze(file(sound+"---\n"+c.add), "default", nil, survey.Sources{})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		var got []string
		for _, f := range found {
			got = append(got, fmt.Sprintf("%s %s %s %s", f.Code, f.Kind, strings.TrimPrefix(f.Namespace+"/"+f.Name, "/"), f.Path))
			if f.Code != "" && f.Message == "" {
				t.Errorf("%s: %s has no name", what, f.Code)
			}
		}
		if want := strings.Fields(c.want); len(want) == 0 && len(got) > 0 || len(want) > 0 && !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: got %q, want %q\n%s", what, got, c.want, said(found))
		}
	}
}

// placed is a mesh with one pod, in zone a.
const placed = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {heddle-injection: disabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: heddle-system}}
---
{apiVersion: v1, kind: Node, metadata: {name: one, labels: {topology.kubernetes.io/zone: a}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: one, containers: [{name: a, image: a, ports: [{containerPort: 80}]}]}, status: {phase: Running, podIP: 10.1.0.1, conditions: [{type: Ready, status: "True"}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
---
`

func TestPlaces(t *testing.T) {
	for what, c := range map[string]struct{ add, want string }{
		"subsets": {`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: web, subsets: [{name: a, labels: {topology.kubernetes.io/zone: a}}, {name: b, labels: {topology.kubernetes.io/zone: b}}, {name: one, labels: {kubernetes.io/hostname: one}}]}}`,
			"IST0173 d spec.subsets[1].labels"},
		"a gateway's pods": {`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: a, namespace: shop}, spec: {selector: {topology.kubernetes.io/zone: a}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}}`, ""},
		"nobody's gateway": {`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: b, namespace: shop}, spec: {selector: {topology.kubernetes.io/zone: b}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example.com]}]}}`,
			"IST0101 b spec.selector"},
	} {
		found, err := analyze.Analyze(file(placed+c.add), "default", nil, survey.Sources{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range found {
			got = append(got, fmt.Sprintf("%s %s %s", f.Code, f.Name, f.Path))
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: got %q, want %q", what, got, c.want)
		}
	}
}

// gateway shows a certificate.
func gateway(certificate string) string {
	return fmt.Sprintf(`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop}, spec: {selector: {istio: edge}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [b.example.com], tls: {mode: SIMPLE, credentialName: %s}}]}}`, certificate)
}

// pair is a certificate and its key.
func pair(t *testing.T) [2]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1)}
	leaf, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return [2]string{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}
}

// TestWhatRuns holds that the pods and Secrets of a cluster are looked at.
func TestWhatRuns(t *testing.T) {
	in := around(t)
	files, err := source.FromYAML([]byte(gateway("missing")))
	if err != nil {
		t.Fatal(err)
	}
	in.Gateways = files.Gateways
	ingresses, err := source.FromYAML([]byte(strings.ReplaceAll(ingress, "CLASS", "heddle") + "\n---\n" + strings.ReplaceAll(ingress, "CLASS", "other")))
	if err != nil {
		t.Fatal(err)
	}
	in.Ingresses = ingresses.Ingresses
	kube := fake.NewClientset(
		&core.Pod{ObjectMeta: meta.ObjectMeta{Name: "bare", Namespace: "shop", Labels: map[string]string{"sidecar.heddle.io/inject": "true"}}, Spec: core.PodSpec{Containers: []core.Container{{Name: "a"}}}},
		&core.Pod{ObjectMeta: meta.ObjectMeta{Name: "left-alone", Namespace: "shop"}, Spec: core.PodSpec{Containers: []core.Container{{Name: "a"}}}},
		&core.Pod{ObjectMeta: meta.ObjectMeta{Name: "edge", Namespace: "shop", Labels: map[string]string{"istio": "edge"}}, Spec: core.PodSpec{Containers: []core.Container{{Name: "heddle-proxy", Args: []string{"gateway"}}}}},
		sidecar("shy"), sidecar("open"))
	in.Services[0].Spec.Selector = map[string]string{"app": "catalog"}
	if forbidden, err := analyze.Running(t.Context(), kube, in); err != nil || len(forbidden) > 0 {
		t.Fatal(forbidden, err)
	}
	found, err := analyze.Analyze(nil, "default", in, survey.Sources{Secrets: analyze.SecretsOf(t.Context(), kube), Listening: analyze.ListeningIn(t.Context(), sockets{}, "")})
	for _, want := range []string{"warning shop/shy  port 80 is a Service's, and its program listens on the pod's loopback alone", "warning shop/bare  it runs without a proxy although it is to have one", "warning shop/g spec.servers[0].tls.credentialName there is no Secret shop/missing",
		"warning other/heddle spec.tls[0].secretName there is no Secret other/far"} {
		if err != nil || !strings.Contains(said(found), want) {
			t.Errorf("got %s (%v), want %s", said(found), err, want)
		}
	}
	for pod, code := range map[string]string{"shy": "IST0143", "bare": "IST0103"} {
		if !slices.ContainsFunc(found, func(f analyze.Finding) bool { return f.Name == pod && f.Code == code && f.Message != "" }) {
			t.Errorf("%s has not %s: %+v", pod, code, found)
		}
	}
	if strings.Contains(said(found), "left-alone") || strings.Contains(said(found), "shop/edge") || strings.Contains(said(found), "shop/open") || strings.Contains(said(found), "other/other") {
		t.Errorf("got %s", said(found))
	}
}

// TestWhatMayNotBeListed holds that what a user may list is looked at though another list is forbidden, that it is told which, and that nothing is made
// up of what is not known; any other failure is one.
func TestWhatMayNotBeListed(t *testing.T) {
	files, err := source.FromYAML([]byte(`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: catalog, subsets: [{name: v1, labels: {version: v1}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		resource string
		failure  error
		want     string
		bare     bool // the pod without a proxy is told of
	}{
		{"nodes", apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", nil), "listing nodes: ", true},
		{"endpointslices", apierrors.NewForbidden(schema.GroupResource{Resource: "endpointslices"}, "", nil), "listing endpoint slices: ", true},
		{"pods", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil), "listing pods: ", false},
		{"nodes", apierrors.NewInternalError(errors.New("broken")), "", false},
	} {
		in := around(t)
		in.DestinationRules = files.DestinationRules
		kube := fake.NewClientset(
			&core.Pod{ObjectMeta: meta.ObjectMeta{Name: "bare", Namespace: "shop", Labels: map[string]string{"sidecar.heddle.io/inject": "true", "app": "catalog", "version": "v1"}}, Spec: core.PodSpec{Containers: []core.Container{{Name: "a"}}}})
		kube.PrependReactor("list", c.resource, func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, c.failure })
		forbidden, err := analyze.Running(t.Context(), kube, in)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), "broken") {
				t.Errorf("a list that fails: %v", err)
			}
			continue
		}
		if err != nil || len(forbidden) != 1 || !strings.HasPrefix(forbidden[0].Error(), c.want) {
			t.Errorf("%s: %v, %v", c.resource, forbidden, err)
		}
		found, err := analyze.Analyze(nil, "default", in, survey.Sources{})
		if err != nil || strings.Contains(said(found), "shop/bare  it runs without a proxy") != c.bare || strings.Contains(said(found), "no endpoint of") && c.resource != "nodes" {
			t.Errorf("without %s: %s (%v)", c.resource, said(found), err)
		}
	}
}

// ingress is one of a class, and of that name.
const ingress = `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: CLASS, namespace: other, annotations: {kubernetes.io/ingress.class: CLASS}}, spec: {tls: [{hosts: [CLASS.example.com], secretName: far}], rules: [{host: CLASS.example.com}]}}`

// sidecar is a pod of the catalog with a proxy.
func sidecar(name string) *core.Pod {
	return &core.Pod{ObjectMeta: meta.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{"app": "catalog"}},
		Spec: core.PodSpec{InitContainers: []core.Container{{Name: "heddle-redirect"}, {Name: "heddle-proxy", Command: []string{"/heddle-proxy", "sidecar"}}}, Containers: []core.Container{{Name: "a"}}}}
}

// sockets is what pods' programs listen on.
type sockets struct{}

func (sockets) Ask(_ context.Context, _, pod string, port int, method, path string) ([]byte, error) {
	if port != 15000 || method != "GET" || path != "/sockets" {
		return nil, errors.New("nobody asks so")
	}
	if pod == "shy" {
		return []byte(`["127.0.0.1:80","0.0.0.0:15006"]`), nil
	}
	return []byte(`["127.0.0.1:80","10.0.0.7:80"]`), nil
}
