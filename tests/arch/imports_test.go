package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/heddle-mesh/heddle"

// pkg is what `go list` tells of one of our packages. Deps is transitive.
type pkg struct {
	ImportPath, Dir, Doc, Name string
	Imports, Deps, GoFiles     []string
}

// rel is the import path inside the module.
func (p pkg) rel() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func load(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,Imports,Deps,GoFiles", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no package")
	}
	return all
}

// rule forbids packages under `from` (except those under `except`) to import packages under `to`.
type rule struct {
	from, except, to []string
	direct           bool // look at direct imports only
	exact            bool // the named packages only, not those below them
	reason           string
}

func ours(paths ...string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = module + "/" + p
	}
	return out
}

var hotPath = []string{"sidecar/http1", "sidecar/http2", "sidecar/tcp", "sidecar/route", "sidecar/filter", "sidecar/upstream", "sidecar/exchange", "sidecar/forward"}

var components = []string{"pilot", "sidecar", "gateways", "injector", "ca"}

func rules() []rule {
	rs := []rule{
		{from: []string{"api"}, to: ours(""), reason: "contracts import nothing of ours"},
		{from: []string{"sidecar"}, to: []string{"k8s.io", "sigs.k8s.io"}, reason: "the proxy runs where no Kubernetes is"},
		{from: []string{"pilot/model"}, except: []string{"pilot/model/dump"}, to: append(ours("pilot"), "k8s.io", "sigs.k8s.io", "istio.io", "google.golang.org/protobuf"),
			reason: "the nouns stand where they can import nothing"},
		{from: []string{"pilot/translate"}, to: []string{"k8s.io/client-go", "net/http", "log", "log/slog", "os"}, direct: true,
			reason: "translate is pure: no client, no network, no logger, no environment"},
		{from: []string{"pilot/generate"}, to: ours("pilot/inputs", "pilot/translate", "pilot/source"), reason: "generate sees the model, never what it was made of"},
		{from: []string{"pilot/translate"}, to: ours("pilot/generate", "pilot/publish", "pilot/discovery"), reason: "meaning does not know how it is said"},
		{from: []string{"pilot"}, except: []string{"pilot/source", "pilot/status", "pilot/admission", "pilot/registration"},
			to: []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}, direct: true, reason: "only source, status, admission and registration hold a Kubernetes client"},
		{from: []string{"pilot/status"}, to: ours("pilot/translate", "pilot/model", "pilot/generate", "pilot/inputs", "pilot/publish"), reason: "status sees only the report"},
		{from: []string{"pilot/registration"}, to: ours("pilot"), reason: "registration writes what it is told, and knows nothing of who reads it"},
		{from: []string{"pilot/discovery"}, to: ours("pilot/model", "pilot/generate", "pilot/translate", "pilot/inputs"),
			reason: "discovery moves names, versions and opaque bytes"},
		{from: []string{"sidecar"}, except: []string{"sidecar/discovery", "sidecar/compile", "sidecar/identity", "sidecar/telemetry/export"},
			to: []string{"google.golang.org", "github.com/envoyproxy"}, direct: true, reason: "only discovery, compile and identity read messages"},
		{from: hotPath, to: append(ours("sidecar/compile"), "google.golang.org", "github.com/envoyproxy", "github.com/prometheus", "go.opentelemetry.io"),
			reason: "the hot path reaches neither messages nor metrics libraries"},
		{from: hotPath, to: []string{"net/http"}, direct: true, reason: "own codec"},
		{from: []string{"sidecar/http1", "sidecar/http2", "sidecar/tcp", "sidecar/forward", "sidecar/telemetry"}, except: []string{"sidecar/telemetry/export"},
			to: []string{"github.com/prometheus", "go.opentelemetry.io"}, reason: "metrics libraries stay behind export"},
		{from: []string{"sidecar/upstream"}, to: ours("sidecar/http1", "sidecar/http2", "sidecar/tcp"), reason: "upstream knows no protocol: it pools transports"},
		{from: []string{"meshctl"}, except: []string{"meshctl/replica", "meshctl/explain"}, to: ours("sidecar"), direct: true,
			reason: "only what explains requests joins the halves (docs/decisions/0024-the-routers-explain.md)"},
		{from: []string{"meshctl/replica", "meshctl/explain"}, to: ours("sidecar/engine", "sidecar/listener", "sidecar/http1", "sidecar/http2", "sidecar/tcp", "sidecar/discovery"), direct: true,
			reason: "an explanation asks what decides, and sends nothing"},
		{from: []string{"sidecar/filter"}, to: []string{"net", "net/http"}, direct: true, exact: true, reason: "filters judge; they do not dial"},
	}
	for _, c := range components {
		others := slices.DeleteFunc(slices.Clone(components), func(o string) bool { return o == c })
		rs = append(rs, rule{from: []string{c}, to: ours(others...), reason: "components meet in api/wire, in the cluster and in cmd, never in each other"})
	}
	rs = append(rs, rule{from: []string{"internal"}, to: ours(append([]string{"cmd", "meshctl", "manifests"}, components...)...), reason: "internal holds leaves"})
	return rs
}

func (r rule) forbids(path string) bool {
	if r.exact {
		return slices.Contains(r.to, path)
	}
	return under(path, r.to)
}

func under(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(r string) bool {
		r = strings.TrimSuffix(r, "/")
		return path == r || strings.HasPrefix(path, r+"/")
	})
}

func TestImports(t *testing.T) {
	all := load(t)
	for _, r := range rules() {
		for _, p := range all {
			if !under(p.rel(), r.from) || under(p.rel(), r.except) {
				continue
			}
			imports := p.Deps
			if r.direct {
				imports = p.Imports
			}
			for _, i := range imports {
				if r.forbids(i) && i != p.ImportPath {
					t.Errorf("%s imports %s: %s", p.rel(), i, r.reason)
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range load(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment: say what it is for and what it never does", p.rel())
		}
	}
}
