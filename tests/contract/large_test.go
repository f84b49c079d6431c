package contract

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// webService is a Service with a subset.
const webService = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.0.0.1","ports":[{"port":80,"name":"http"}]}}
---
{"apiVersion":"networking.istio.io/v1","kind":"DestinationRule","metadata":{"name":"web","namespace":"shop"},"spec":{"host":"web","subsets":[{"name":"v1","labels":{"version":"v1"}}]}}
`

// longPath is the i-th of paths of a hundred bytes.
func longPath(i int) string { return fmt.Sprintf("/p/%s/%d", strings.Repeat("x", 90), i) }

// manyMatches is a VirtualService of one rule with n matches, and one for the rest, in JSON.
func manyMatches(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"uri":{"exact":"%s"}}`, longPath(i)))
	}
	return `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"web","namespace":"shop"},"spec":{"hosts":["web"],"http":[` +
		`{"name":"many","match":[` + strings.Join(all, ",") + `],"route":[{"destination":{"host":"web","subset":"v1"}}]},{"name":"rest","route":[{"destination":{"host":"web"}}]}]}}`
}

// way is what a request takes from objects to a route: all that heddled and a proxy do for it.
func way(t *testing.T, in *inputs.Inputs) (table *route.Table, size int) {
	t.Helper()
	snap, rep := translate.Translate(in, nil)
	for _, e := range rep.Entries {
		if e.State != report.Accepted || len(e.Issues) > 0 {
			t.Fatalf("%.300s", e)
		}
	}
	memo, w := generate.NewMemo(), &model.Workload{Name: model.Name{Namespace: "shop", Name: "p"}, IPs: []string{"10.1.2.3"},
		Identity: spiffe.Identity{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "p"}}
	endpoints, _ := translate.Endpoints(in, nil)
	index := generate.NewIndex(snap, endpoints, nil)
	scope := generate.ScopeOf(index, w, naming.Class{IPv4: true}, memo)
	set := generate.GenerateOutbound(index, scope.Outbound, memo)
	c := compile.New(compile.Options{Workload: nobody{}, Mesh: nobody{}, Secrets: mtls.NewSecrets()})
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute} {
		var list []wire.Resource
		for _, r := range set.All(typ) {
			list, size = append(list, *r), max(size, len(r.Body))
		}
		for name, err := range c.Apply(typ, list, nil) {
			t.Fatalf("the proxy refuses %s: %v", name, err)
		}
	}
	var assignments []wire.Resource
	for name, view := range set.Reach.Views() {
		assignments = append(assignments, *generate.Endpoints(name, endpoints.Sets[view.Key], view.From(scope.From), memo))
	}
	c.Apply(wire.TypeEndpoints, assignments, nil)
	if c.Config().Routes["80"] == nil {
		t.Fatal("there are no routes")
	}
	return c.Config().Routes["80"], size
}

// TestTenThousandMatches holds that an object of more than a megabyte, about the most that an API server stores, with ten thousand matches in one rule, is
// understood to the last of them, at a bounded price: for each match less than 40 kB that are allocated on the whole way, and less than 1 kB that a proxy
// is told.
func TestTenThousandMatches(t *testing.T) {
	const n = 10_000
	in, err := source.FromYAML([]byte(webService))
	if err != nil {
		t.Fatal(err)
	}
	text := manyMatches(n)
	o, err := inputs.Decode([]byte(text))
	if err != nil || len(text) < 1<<20 {
		t.Fatalf("%d bytes: %v", len(text), err)
	}
	in.Add(o)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	table, size := way(t, in)
	runtime.ReadMemStats(&after)
	conn := &exchange.Connection{Source: netip.MustParseAddrPort("10.1.2.3:40000"), Destination: netip.MustParseAddrPort("10.0.0.1:80")}
	for path, want := range map[string]string{longPath(0): "many", longPath(n - 1): "many", longPath(n): "rest"} {
		if _, r := table.Match(request(conn, "web", path)); r == nil || r.Name != want {
			t.Errorf("%s goes to %v, want %s", path, r, want)
		}
	}
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > n*40<<10 || size > n<<10 {
		t.Errorf("%d bytes are allocated, and a resource has %d bytes, for an object of %d", bytes, size, len(text))
	}
}
