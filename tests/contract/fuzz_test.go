package contract

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

const (
	drawings = 20 // how many meshes the seeds draw
	repairs  = 12 // how often what is refused is mended in a mesh
)

// FuzzTheProxyHonoursWhatPilotAccepts takes a mesh, or draws one where there is none, changes it at random where seed is not 0, mends or takes
// out what translation refuses, and holds that proxies honour all that is left, and that no text and no object makes either half panic.
func FuzzTheProxyHonoursWhatPilotAccepts(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text, uint64(1)) // as they are, the simulation and the other tests compile them
	}
	for seed := range uint64(drawings) {
		f.Add([]byte(nil), seed)
	}
	f.Fuzz(honour)
}

// honour does what the target says for one mesh.
func honour(t *testing.T, text []byte, seed uint64) {
	docs, err := documents(text)
	if err != nil {
		return
	}
	d := newDrawing(seed)
	if len(docs) == 0 {
		docs = d.mesh(t)
	} else if seed != 0 {
		d.change(docs)
	}
	for range repairs {
		in, err := source.FromYAML(written(t, docs))
		if err != nil {
			return // a change has made it no mesh at all
		}
		_, rep := translate.Translate(in, nil)
		if !d.repair(docs, rep) {
			break
		}
	}
	compileAll(t, written(t, docs)) // what is still refused is left out
	if t.Failed() {
		t.Logf("the mesh:\n%s", written(t, docs))
	}
}

// corpus is every mesh that tests and samples have.
func corpus(t testing.TB) [][]byte {
	var out [][]byte
	for _, pattern := range []string{cases, "../../pilot/generate/testdata/*.txtar", "../simulation/testdata/*.txtar"} {
		for _, path := range glob(t, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range txtar.Parse(data).Files {
				if file.Name == "in.yaml" || file.Name == "config.yaml" {
					out = append(out, file.Data)
				}
			}
		}
	}
	for _, pattern := range []string{"testdata/*.yaml", "../../samples/*/*.yaml"} {
		for _, path := range glob(t, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, data)
		}
	}
	return out
}

func glob(t testing.TB, pattern string) []string {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: nothing there (%v)", pattern, err)
	}
	return paths
}

// repair mends in the objects what the report refuses, and reports whether there was anything to mend.
func (d *drawing) repair(docs []map[string]any, rep report.Report) bool {
	changed := false
	for _, e := range rep.Entries {
		if e.State != report.Refused && e.State != report.Closed {
			continue
		}
		doc := find(docs, e.Ref)
		if doc == nil {
			continue
		}
		for i := len(e.Issues) - 1; i >= 0; i-- { // from behind, so that positions in lists stay
			if e.Issues[i].Severity == report.Error {
				changed = d.mend(doc, e.Issues[i].Path) || changed
			}
		}
	}
	return changed
}

func find(docs []map[string]any, ref report.Ref) map[string]any {
	for _, doc := range docs {
		metadata, _ := doc["metadata"].(map[string]any)
		namespace, given := metadata["namespace"].(string)
		if !given {
			namespace = "default"
		}
		if doc["kind"] == ref.Kind && metadata["name"] == ref.Name && namespace == ref.Namespace {
			return doc
		}
	}
	return nil
}

// TestRepair holds that paths of the report are found in objects.
func TestRepair(t *testing.T) {
	docs, err := documents([]byte(`{"spec": {"http": [{"match": [{"headers": {"x.y": {"exact": "a"}, "z": 1}}]}, {"timeout": "1s"}], "hosts": ["a", "b"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"spec.http[0].match[0].headers[x.y].exact", "spec.http[1].timeout", "spec.hosts[0]", "spec.http[0].match[0].headers.z", "spec.http[0].route"} {
		if !remove(docs[0], path) {
			t.Errorf("%s was not found", path)
		}
	}
	if got := string(written(t, docs)); got != `{"spec":{"hosts":["b"],"http":[{}]}}`+"\n" {
		t.Errorf("got %s", got)
	}
}
