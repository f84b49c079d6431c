package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/internal/observe"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// contested is a mesh in which younger objects, named b, find that older ones have something already.
const contested = `
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80, name: http}, {port: 443, name: https}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  hosts: [api, a.example.com]
  http: [{route: [{destination: {host: api}}]}]
  tcp: [{route: [{destination: {host: api}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b, namespace: shop, creationTimestamp: "2021-01-01T00:00:00Z"}
spec:
  hosts: [api, b.example.com]
  http: [{route: [{destination: {host: api}}]}]
  tcp: [{route: [{destination: {host: api}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop, creationTimestamp: "2020-01-01T00:00:00Z"}
spec: {host: api, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: one, labels: {v: "1"}}, {name: two, labels: {v: "2"}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: shop, creationTimestamp: "2021-01-01T00:00:00Z"}
spec: {host: api, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: one, labels: {v: "1"}}, {name: two, labels: {v: "2"}}, {name: three, labels: {v: "3"}}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop, creationTimestamp: "2020-01-01T00:00:00Z"}
spec: {hosts: [x.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b, namespace: shop, creationTimestamp: "2021-01-01T00:00:00Z"}
spec: {hosts: [x.example.com, y.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}
`

// TestConflictsAreCounted holds that what istiod's dashboards ask for is there from the start, and counts what the report says.
func TestConflictsAreCounted(t *testing.T) {
	metrics, err := observe.NewMetrics("heddled", "v1")
	if err != nil {
		t.Fatal(err)
	}
	last := &report.Report{}
	if err := measureConflicts(metrics.Meter("pilot"), func() *report.Report { return last }); err != nil {
		t.Fatal(err)
	}
	holds := func(want ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for _, line := range want {
			if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
				t.Errorf("no %q in\n%s", line, grepPilot(w.Body.String()))
			}
		}
	}
	holds("pilot_vservice_dup_domain 0", "pilot_destrule_subsets 0", "pilot_duplicate_envoy_clusters 0", "# TYPE pilot_vservice_dup_domain gauge")
	in, err := source.FromYAML([]byte(contested))
	if err != nil {
		t.Fatal(err)
	}
	_, said := translate.Translate(in, nil)
	last = &said
	holds("pilot_vservice_dup_domain 1", "pilot_destrule_subsets 2", "pilot_duplicate_envoy_clusters 1")
}

// grepPilot keeps the lines of such metrics.
func grepPilot(text string) (out string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "pilot_") {
			out += line
		}
	}
	return out
}
