package contract

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/generate/older"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/publish"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// told is what a proxy that announces a dialect is told of the mesh of testdata/skew.yaml.
func told(t *testing.T, p *publish.Publisher, pod string, dialect int) []*wire.Resource {
	t.Helper()
	who := spiffe.Identity{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	sub, err := p.Subscribe(t.Context(), discovery.Caller{Identity: who, Namespace: "shop", Pod: pod},
		discovery.Node{ID: "sidecar~" + pod, Role: wire.NodeSidecar, Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	var all []*wire.Resource
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute} {
		all = append(all, sub.View().All(typ)...)
	}
	for _, cluster := range sub.View().All(wire.TypeCluster) {
		if r := sub.View().Get(t.Context(), wire.TypeEndpoints, cluster.Name); r != nil {
			all = append(all, r)
		}
	}
	return all
}

// serving is a heddled's publisher of a mesh, until the test ends.
func serving(t *testing.T, in *inputs.Inputs) *publish.Publisher {
	t.Helper()
	p, err := publish.New(publish.Options{Log: slog.New(slog.DiscardHandler), Meter: noop.Meter{}, PodWait: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, rep := translate.Translate(in, nil)
	for _, e := range rep.Entries {
		if len(e.Issues) > 0 {
			t.Errorf("%s", e)
		}
	}
	endpoints, workloads := translate.Endpoints(in, nil)
	p.SetSnapshot(snapshot)
	p.SetEndpoints(endpoints)
	p.SetWorkloads(workloads)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestSkew has this heddled serve, side by side, proxies of its own dialect and of every older one, and a proxy of this build take what an older heddled
// says. An older proxy is told nothing that it would refuse, and whoever understands more is told more.
func TestSkew(t *testing.T) {
	text, err := os.ReadFile("testdata/skew.yaml")
	if err != nil {
		t.Fatal(err)
	}
	in, err := source.FromYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	p := serving(t, in)
	todays := told(t, p, "web-1", wire.Dialect)
	for dialect := wire.OldestDialect; dialect < wire.Dialect; dialect++ {
		theirs := told(t, p, "web-2", dialect)
		if newer := judged(t, theirs, dialect); newer != "" {
			t.Errorf("dialect %d: a proxy of it would refuse %s", dialect, newer)
		}
		if judged(t, todays, dialect) == "" {
			t.Errorf("dialect %d: the mesh has nothing that it does not know", dialect)
		}
		if a, b := names(theirs), names(todays); a != strings.ReplaceAll(b, "10.1.0.1", "10.1.0.2") {
			t.Errorf("dialect %d: a proxy of it is told of\n%s\nnot of\n%s", dialect, a, b)
		}
		taken(t, theirs) // what an older heddled says
	}
	taken(t, todays)
}

// judged returns what a proxy of a dialect would refuse first.
func judged(t *testing.T, all []*wire.Resource, dialect int) string {
	t.Helper()
	for _, r := range all {
		if field := older.Unknown(r, dialect); field != "" {
			return r.Name + ": " + field
		}
	}
	return ""
}

func names(all []*wire.Resource) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteString(r.Type[strings.LastIndexByte(r.Type, '.')+1:] + " " + r.Name + "\n")
	}
	return b.String()
}

// taken has a proxy of this build compile resources.
func taken(t *testing.T, all []*wire.Resource) {
	t.Helper()
	c := compile.New(compile.Options{Workload: nobody{}, Mesh: nobody{}, Secrets: mtls.NewSecrets()})
	for _, r := range all {
		for name, err := range c.Apply(r.Type, []wire.Resource{*r}, nil) {
			t.Errorf("this build's proxy refuses %s: %v", name, err)
		}
	}
}
