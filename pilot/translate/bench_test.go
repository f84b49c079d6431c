package translate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// mesh10k is 10,000 services, 5,000 routes and 5,000 rules.
func mesh10k(b *testing.B) *inputs.Inputs {
	var text strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&text, `---
apiVersion: v1
kind: Service
metadata: {name: s%d, namespace: n%d}
spec: {clusterIP: 10.%d.%d.%d, selector: {app: s%d}, ports: [{port: 80, name: http, targetPort: 8080}, {port: 90, name: grpc-api}]}
`, i, i%100, i>>16, i>>8&255, i&255, i)
	}
	for i := range 5000 {
		fmt.Fprintf(&text, `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r%d, namespace: n%d, generation: 1}
spec:
  hosts: [s%d]
  http:
  - match: [{headers: {x-user: {exact: a}}, uri: {prefix: /api}}]
    retries: {attempts: 3, retryOn: 5xx}
    route: [{destination: {host: s%d, subset: v2}}]
  - timeout: 5s
    route: [{destination: {host: s%d, subset: v1}, weight: 90}, {destination: {host: s%d, subset: v2}, weight: 10}]
`, i, i%100, i, i, i, i)
	}
	for i := range 5000 {
		fmt.Fprintf(&text, `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d%d, namespace: n%d, generation: 1}
spec: {host: s%d, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
`, i, i%100, i)
	}
	return read(b, text.String())
}

// BenchmarkTranslate is one batch: cold, and warm with one route changed. The budget of a warm batch is 250 ms.
func BenchmarkTranslate(b *testing.B) {
	in := mesh10k(b)
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			translate.Translate(in, nil)
		}
	})
	b.Run("warm", func(b *testing.B) {
		memo := translate.NewMemo()
		translate.Translate(in, memo)
		for b.Loop() {
			changed := *in.VirtualServices[7]
			in.VirtualServices[7] = &changed
			translate.Translate(in, memo)
		}
	})
}
