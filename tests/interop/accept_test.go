package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
	"github.com/heddle-mesh/heddle/tests/internal/netlab"
)

// TestEnvoyTakesWhatPilotGenerates tells an Envoy, seat after seat, what every proxy of every golden case and sample is told: it must refuse nothing.
// Sidecars and gateways, and proxies of one address family and of both, have an Envoy of their own, as no proxy ever turns from one into another:
// 1.40.0 crashes when a listener that it has changes what it binds to.
func TestEnvoyTakesWhatPilotGenerates(t *testing.T) {
	for _, variant := range []struct {
		name  string
		class naming.Class
		world bool
	}{
		{"sidecar", naming.Class{IPv4: true}, false},
		{"sidecar, state of the world", naming.Class{IPv4: true}, true},
		{"sidecar of both families", naming.Class{IPv4: true, IPv6: true}, false},
		{"gateway", naming.Class{Router: true, IPv4: true}, false},
		{"gateway of both families", naming.Class{Router: true, IPv4: true, IPv6: true}, false},
	} {
		t.Run(variant.name, func(t *testing.T) {
			s, f, class := newStage(t), newFiles(t), variant.class
			class.Foreign = true
			e := envoy.Start(t, envoy.Options{ID: "sidecar~10.1.2.3~p.shop~shop.svc.cluster.local", Discovery: s.socket, StateOfTheWorld: variant.world, In: netlab.Alone(t).Enter})
			e.Ready()
			for name, text := range meshes(t) {
				t.Run(name, func(t *testing.T) { s.tell(t, newMesh(t, text), class, f) })
				if s.stalled {
					break
				}
			}
		})
	}
}

// tell tells the proxy what each seat of a class is told.
func (s *stage) tell(t *testing.T, m *mesh, class naming.Class, f *files) {
	for _, seat := range m.seats(class) {
		refused, err := s.show(m.told(t, seat, f))
		if len(refused) > 0 {
			t.Errorf("%s: Envoy refuses %s", seat.name, strings.Join(refused, "\n"))
		}
		if err != nil {
			s.stalled = true
			t.Fatalf("%s: %v", seat.name, err)
		}
	}
}

// meshes are the golden cases and the samples, each beside the shop that it is about.
func meshes(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"mixture": load(t, "../contract/testdata/mix.yaml")}
	for _, dir := range []string{"translate", "generate"} {
		for _, path := range glob(t, "../../pilot/"+dir+"/testdata/*.txtar") {
			for _, f := range txtar.Parse(load(t, path)).Files {
				if f.Name == "in.yaml" {
					out[dir+" "+strings.TrimSuffix(filepath.Base(path), ".txtar")] = f.Data
				}
			}
		}
	}
	shop := append(load(t, "../../samples/shop/shop.yaml"), "\n---\n"...)
	for _, path := range glob(t, "../../samples/*/*.yaml") {
		if !strings.HasSuffix(path, ".values.yaml") { // those are Helm's
			out["sample "+strings.TrimPrefix(path, "../../samples/")] = append(shop[:len(shop):len(shop)], load(t, path)...)
		}
	}
	return out
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: nothing there (%v)", pattern, err)
	}
	return paths
}

func load(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
