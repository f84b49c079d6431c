package translate_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// FuzzTranslate holds that no text makes translation panic, and that the admission's judgement agrees with the report about
// what is in force.
func FuzzTranslate(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			if file.Name == "in.yaml" {
				f.Add(file.Data)
			}
		}
	}
	f.Add([]byte("apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: {hosts: [null], http: [null, {match: [null], route: [null], mirrors: [null]}], tls: [null], tcp: [null]}"))
	f.Add([]byte("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec: {rules: [null, {from: [null], to: [null], when: [null]}]}"))
	f.Add([]byte("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nspec: {host: a, subsets: [null], trafficPolicy: {portLevelSettings: [null]}}"))
	f.Add([]byte("apiVersion: networking.istio.io/v1\nkind: Gateway\nspec: {servers: [null, {hosts: [null], port: null}]}"))
	f.Add([]byte("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nspec: {hosts: [a.b], resolution: STATIC, ports: [null], endpoints: [null]}"))
	f.Add([]byte("apiVersion: networking.istio.io/v1\nkind: Sidecar\nspec: {ingress: [null], egress: [null]}"))
	f.Add([]byte("apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nspec: {tracing: [null], accessLogging: [null, {providers: [null]}]}"))
	f.Add([]byte("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {annotations: {kubernetes.io/ingress.class: heddle}}\nspec: {tls: [null], rules: [null, {http: {paths: [null]}}]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := source.FromYAML(text)
		if err != nil {
			return
		}
		memo := translate.NewMemo()
		_, rep := translate.Translate(in, memo)
		translate.Endpoints(in, nil)
		checker := memo.Checker()
		for _, o := range objects(in) {
			e := rep.Find(translate.RefOf(o))
			if group := translate.RefOf(o).Group; e == nil && group == inputs.GroupKubernetes {
				continue // another controller's
			}
			if e == nil && len(in.Mesh.Config.DiscoverySelectors) > 0 {
				continue // of a namespace that they leave out
			}
			if e == nil {
				t.Fatalf("no entry for %s", translate.RefOf(o))
			}
			if _, policy := o.(*inputs.AuthorizationPolicy); policy && e.State != report.Refused && e.State != report.Closed {
				continue // admission refuses more of them than what is closed
			}
			if errors := report.HasErrors(checker.Check(o)); errors != (e.State == report.Refused || e.State == report.Closed) && unique(in, o) {
				t.Fatalf("%s is %s, and admission sees errors: %v", e.Ref, e.State, errors)
			}
		}
	})
}

// unique reports whether an object is the only one of its name, as in every cluster.
func unique(in *inputs.Inputs, o inputs.Object) bool {
	n := 0
	for _, other := range objects(in) {
		if translate.RefOf(other) == translate.RefOf(o) {
			n++
		}
	}
	return n == 1
}
