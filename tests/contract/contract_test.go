package contract

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

const cases = "../../pilot/translate/testdata/*.txtar"

// TestTheProxyHonoursWhatPilotAccepts compiles, for a sidecar in each namespace and a pod of each gateway, everything that is generated.
func TestTheProxyHonoursWhatPilotAccepts(t *testing.T) {
	paths, err := filepath.Glob(cases)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(data).Files {
			if f.Name == "in.yaml" {
				t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { compileAll(t, f.Data) })
			}
		}
	}
}

// TestTheProxyHonoursAMixture compiles what the golden cases do not combine.
func TestTheProxyHonoursAMixture(t *testing.T) {
	text, err := os.ReadFile("testdata/mix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	in, err := source.FromYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	_, rep := translate.Translate(in, nil)
	for _, e := range rep.Entries {
		if len(e.Issues) > 0 {
			t.Errorf("%s", e)
		}
	}
	compileAll(t, text)
}

func compileAll(t *testing.T, text []byte) {
	in, err := source.FromYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	snap, _ := translate.Translate(in, nil)
	endpoints, _ := translate.Endpoints(in, nil)
	index, memo := generate.NewIndex(snap, endpoints, nil), generate.NewMemo()
	for _, namespace := range []string{"shop", "other", "heddle-system"} {
		compileProxy(t, index, endpoints, workload(namespace, map[string]string{"app": "web"}), naming.Class{IPv4: true}, memo)
		compileProxy(t, index, endpoints, workload(namespace, map[string]string{"app": "a"}), naming.Class{IPv4: true, IPv6: true}, memo)
	}
	compileProxy(t, index, endpoints, workload("shop", map[string]string{"app": "web"}), naming.Class{IPv4: true, Foreign: true}, memo)
	for _, g := range snap.Gateways {
		compileProxy(t, index, endpoints, workload(g.From.Namespace, g.Selector), naming.Class{Router: true, IPv4: true}, memo)
	}
}

func workload(namespace string, labels map[string]string) *model.Workload {
	return &model.Workload{Name: model.Name{Namespace: namespace, Name: "p"}, IPs: []string{"10.1.2.3"}, Labels: labels,
		Identity: spiffe.Identity{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: "p"}, ContainerPorts: map[string]uint16{"named": 9090}}
}

func compileProxy(t *testing.T, index *generate.Index, endpoints *model.EndpointIndex, w *model.Workload, class naming.Class, memo *generate.Memo) {
	t.Helper()
	scope := generate.ScopeOf(index, w, class, memo)
	outer := generate.GenerateOutbound(index, scope.Outbound, memo)
	var own *generate.Set
	if class.Router {
		own = generate.GenerateEdge(index, scope.Outbound, scope.Edge, memo)
	} else {
		own = generate.GenerateInbound(scope.Inbound, memo)
	}
	c := compile.New(compile.Options{Gateway: class.Router, Workload: nobody{}, Mesh: nobody{}, Secrets: mtls.NewSecrets()})
	apply := func(typ string, resources []*wire.Resource) {
		var list []wire.Resource
		for _, r := range resources {
			list = append(list, *r)
		}
		for name, err := range c.Apply(typ, list, nil) {
			t.Errorf("the proxy refuses %s: %v", name, err)
		}
	}
	var assignments []*wire.Resource
	for _, r := range append(everything(outer), everything(own)...) {
		if err := valid(r); err != nil {
			t.Errorf("Envoy's own rules refuse %s: %v", r.Name, err)
		}
	}
	if class.Foreign {
		return
	}
	for name, view := range outer.Reach.Views() {
		assignments = append(assignments, generate.Endpoints(name, endpoints.Sets[view.Key], view.From(scope.From), memo))
	}
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute} {
		apply(typ, outer.All(typ))
		apply(typ, own.All(typ))
	}
	apply(wire.TypeEndpoints, assignments)
	exercise(c.Config())
}

func everything(s *generate.Set) []*wire.Resource {
	return append(append(s.All(wire.TypeCluster), s.All(wire.TypeListener)...), s.All(wire.TypeRoute)...)
}

// nobody has no certificate: nothing is handshaken here.
type nobody struct{}

func (nobody) Certificate() *tls.Certificate { return &tls.Certificate{} }

func (nobody) Verify([]*x509.Certificate, x509.ExtKeyUsage, time.Time) (spiffe.Identity, error) {
	return spiffe.Identity{}, nil
}
