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

// webService is a Service of two subsets.
const webService = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.0.0.1","ports":[{"port":80,"name":"http"}]}}
---
{"apiVersion":"networking.istio.io/v1","kind":"DestinationRule","metadata":{"name":"web","namespace":"shop"},"spec":{"host":"web","subsets":[{"name":"v1","labels":{"version":"v1"}}]}}
---
`

// ruleOf is a VirtualService of http rules, in JSON.
func ruleOf(http string) string {
	return `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"web","namespace":"shop"},"spec":{"hosts":["web"],"http":[` + http +
		`{"name":"rest","route":[{"destination":{"host":"web"}}]}]}}`
}

// manyMatches is one rule with n matches.
func manyMatches(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"uri":{"exact":"/p/%d"}}`, i))
	}
	return ruleOf(`{"name":"many","match":[` + strings.Join(all, ",") + `],"route":[{"destination":{"host":"web","subset":"v1"}}]},`)
}

// manyRules is n rules that each set a header of a thousand bytes.
func manyRules(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"name":"r%d","match":[{"uri":{"exact":"/p/%d"}}],"headers":{"request":{"set":{"x-long":"%s"}}},"route":[{"destination":{"host":"web","subset":"v1"}}]},`, i, i, strings.Repeat("v", 1000))
	}
	return ruleOf(b.String())
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

// TestVeryLargeObjects holds that a rule of ten thousand matches and an object of a megabyte, the most that an API server stores, are understood to the
// last line, and cost what they weigh: ten times the lines cost little more than ten times the memory, and the proxy is told of them in ten times the bytes, at most twenty times the object.
func TestVeryLargeObjects(t *testing.T) {
	conn := &exchange.Connection{Source: netip.MustParseAddrPort("10.1.2.3:40000"), Destination: netip.MustParseAddrPort("10.0.0.1:80")}
	for says, c := range map[string]struct {
		text func(n int) string
		n    int
		last string // the route of the last line
	}{
		"ten thousand matches": {manyMatches, 10_000, "many"},
		"a megabyte":           {manyRules, 950, "r949"},
	} {
		t.Run(says, func(t *testing.T) {
			cost, told := map[int]uint64{}, map[int]int{}
			for _, n := range []int{c.n / 10, c.n} {
				text := c.text(n)
				in, err := source.FromYAML([]byte(webService))
				if err != nil {
					t.Fatal(err)
				}
				o, err := inputs.Decode([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				in.Add(o)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				table, size := way(t, in)
				runtime.ReadMemStats(&after)
				cost[n] = after.TotalAlloc - before.TotalAlloc
				for path, want := range map[string]string{fmt.Sprintf("/p/%d", n-1): c.last, "/p/0": "", "/elsewhere": "rest"} {
					_, r := table.Match(request(conn, "web", path))
					if r == nil || n == c.n && want != "" && r.Name != want {
						t.Errorf("%s goes to %v, want %s", path, r, want)
					}
				}
				t.Logf("%d lines, %d bytes: %d bytes allocated, the largest resource has %d bytes", n, len(text), cost[n], size)
				told[n] = size
			}
			if few, many := told[c.n/10], told[c.n]; many > 12*few || many > 20*len(c.text(c.n)) {
				t.Errorf("it is told in %d bytes, and a tenth of it in %d", many, few)
			}
			if few, many := cost[c.n/10], cost[c.n]; many > 20*few {
				t.Errorf("%d bytes are allocated for ten times what %d bytes are allocated for", many, few)
			}
		})
	}
}
