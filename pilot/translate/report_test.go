package translate_test

import (
	"testing"

	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// TestEntriesNameTheObjectThatWasJudged holds that all that is said is said of one object, not of whatever has its name.
func TestEntriesNameTheObjectThatWasJudged(t *testing.T) {
	_, rep := translate.Translate(read(t, `
apiVersion: v1
kind: Service
metadata: {name: catalog, namespace: shop, uid: uid-catalog}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: theirs, namespace: bank, uid: uid-theirs}
spec: {hosts: [catalog.shop.svc.cluster.local], http: [{route: [{destination: {host: nowhere}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: shop, uid: uid-nothing}
spec: {action: CUSTOM}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: heddle, uid: uid-heddle}
spec: {controller: heddle.dev/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: edge, namespace: shop, uid: uid-edge}
spec: {ingressClassName: heddle, defaultBackend: {service: {name: catalog, port: {number: 80}}}}
`), nil)
	n := 0
	for _, e := range rep.Entries {
		if e.Ref.Kind != "ConfigMap" {
			n++
			if e.UID != "uid-"+e.Ref.Name {
				t.Errorf("what is said of %s is said of UID %q: %v", e.Ref, e.UID, e)
			}
		}
	}
	if want := (report.Object{Ref: report.Ref{Group: "networking.k8s.io", Kind: "Ingress", Namespace: "shop", Name: "edge"}, UID: "uid-edge"}); n != 5 ||
		len(rep.Ingresses.Objects) != 1 || rep.Ingresses.Objects[0] != want {
		t.Errorf("%d entries, and as Ingresses %v", n, rep.Ingresses.Objects)
	}
}
