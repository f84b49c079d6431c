package analyze_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/analyze"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/meshctl/survey"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

const route = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http: [{route: [{destination: {host: %s}}]}]
`

func file(text string) []analyze.Text { return []analyze.Text{{Name: "f.yaml", Content: []byte(text)}} }

func said(found []analyze.Finding) string {
	var out bytes.Buffer
	for _, f := range found {
		fmt.Fprintf(&out, "%s %s/%s %s %s\n", f.Severity, f.Namespace, f.Name, f.Path, f.Reason)
	}
	return out.String()
}

func TestFilesAlone(t *testing.T) {
	found, err := analyze.Analyze(file(strings.Replace(fmt.Sprintf(route, "catalog"), "hosts:", "hots: 1\n  hosts:", 1)), "default", nil, survey.Sources{})
	if err != nil || !strings.Contains(said(found), "error shop/catalog spec.hots") || !analyze.Errors(found) {
		t.Errorf("an unknown field: %s (%v)", said(found), err)
	}
	if _, err := analyze.Analyze(file("a: [b"), "default", nil, survey.Sources{}); err == nil || !strings.Contains(err.Error(), "f.yaml") {
		t.Errorf("text that is no YAML: %v", err)
	}
}

const plugin = `apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: filter, namespace: shop}
spec: {url: "oci://example.com/filter"}
`

const noPlugins = "error shop/filter  this kind is not implemented by this version\n"

func TestAKindThatIsNotImplementedIsAnError(t *testing.T) {
	if found, err := analyze.Analyze(file(plugin), "default", nil, survey.Sources{}); err != nil || said(found) != noPlugins {
		t.Errorf("in a file: %s (%v)", said(found), err)
	}
	if found, err := analyze.Analyze(nil, "default", around(t, plugin), survey.Sources{}); err != nil || !strings.Contains(said(found), noPlugins) {
		t.Errorf("in a cluster: %s (%v)", said(found), err)
	}
}

// around is a cluster with a service and a route of the same name as the file's, and more objects.
func around(t *testing.T, more ...string) *inputs.Inputs {
	t.Helper()
	kube := fake.NewClientset(&core.Namespace{ObjectMeta: meta.ObjectMeta{Name: "shop"}},
		&core.Service{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "catalog"}, Spec: core.ServiceSpec{ClusterIP: "10.0.0.1", Ports: []core.ServicePort{{Name: "http", Port: 80}}}})
	var stored []runtime.Object
	for _, text := range append(more, fmt.Sprintf(route, "from-the-cluster")) {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		stored = append(stored, &unstructured.Unstructured{Object: o})
	}
	kinds := map[schema.GroupVersionResource]string{}
	for _, k := range inputs.Kinds() {
		kinds[schema.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Resource}] = k.Kind + "List"
	}
	objects := fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, stored...)
	in, err := analyze.FromCluster(t.Context(), kube, objects)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestTheCluster(t *testing.T) {
	found, err := analyze.Analyze(nil, "default", around(t), survey.Sources{})
	if err != nil || !strings.Contains(said(found), "from-the-cluster") || analyze.Errors(found) {
		t.Errorf("an unknown destination is a warning, got %s (%v)", said(found), err)
	}
	if n, m := len(analyze.In(slices.Clone(found), "")), len(analyze.In(found, "other")); n == 0 || m != 0 {
		t.Errorf("%d findings everywhere, %d in another namespace", n, m)
	}
}

// TestWhatTheInstallationSays: names end in its domain, also where a file has settings, and pods are given proxies by its labels and selectors.
func TestWhatTheInstallationSays(t *testing.T) {
	with := func(change func(*inject.Params)) string {
		in := around(t, strings.Replace(fmt.Sprintf(route, "catalog"), "name: catalog", "name: other", 1))
		in.Namespaces[0].Labels = map[string]string{"istio-injection": "enabled"}
		in.Pods = []*core.Pod{{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}}}}
		p := replica.Defaults()
		change(&p)
		settings := file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: heddle, namespace: heddle-system}\ndata: {mesh: 'accessLogFile: /dev/stdout'}\n" +
			"---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x, namespace: shop}\nspec: {hosts: [x.example.com], http: [{route: [{destination: {host: catalog.shop.svc.k8s.example.org}}]}]}\n")
		found, err := analyze.Analyze(nil, "default", in, survey.Sources{Injection: &p})
		if err != nil {
			t.Fatal(err)
		}
		more, err := analyze.Analyze(settings, "default", in, survey.Sources{Injection: &p})
		if err != nil {
			t.Fatal(err)
		}
		return said(append(found, more...))
	}
	for name, c := range map[string]struct {
		change func(*inject.Params)
		want   string
		told   bool
	}{
		"the usual domain":   {func(*inject.Params) {}, "warning shop/x spec.http[0].route[0].destination.host", true},
		"the cluster's":      {func(p *inject.Params) { p.ClusterDomain = "k8s.example.org" }, "warning shop/x spec.http[0].route[0].destination.host", false},
		"Heddle's labels":    {func(*inject.Params) {}, "warning shop/web  it runs without a proxy", false},
		"Istio's labels too": {func(p *inject.Params) { p.IstioLabels = true }, "warning shop/web  it runs without a proxy", true},
		"never": {func(p *inject.Params) {
			p.IstioLabels, p.NeverInject = true, []meta.LabelSelector{{MatchLabels: map[string]string{"app": "web"}}}
		}, "warning shop/web  it runs without a proxy", false},
		"always": {func(p *inject.Params) {
			p.AlwaysInject = []meta.LabelSelector{{MatchLabels: map[string]string{"app": "web"}}}
		}, "warning shop/web  it runs without a proxy", true},
	} {
		if got := with(c.change); strings.Contains(got, c.want) != c.told {
			t.Errorf("%s: told %v, want %v of %q in\n%s", name, !c.told, c.told, c.want, got)
		}
	}
}

func TestAFileStandsForTheClustersObjectOfItsName(t *testing.T) {
	found, err := analyze.Analyze(file(fmt.Sprintf(route, "catalog")), "default", around(t), survey.Sources{})
	if err != nil || found == nil || len(found) != 0 {
		t.Errorf("got %s (%v)", said(found), err)
	}
}

func TestAFileWithoutNamespaceIsWhereItIsSaidToBe(t *testing.T) {
	bare := strings.Replace(fmt.Sprintf(route, "catalog"), ", namespace: shop", "", 1)
	for namespace, unknown := range map[string]bool{"shop": false, "default": true} {
		found, err := analyze.Analyze(file(bare), namespace, around(t), survey.Sources{})
		if err != nil || strings.Contains(said(found), "warning "+namespace+"/catalog") != unknown {
			t.Errorf("in %s: got %s (%v), want an unknown destination: %v", namespace, said(found), err, unknown)
		}
	}
}

// TestRulesForServicesOfOthers holds that both sides are told, and that the setting of the cluster, or of a file, makes the rule count for less.
func TestRulesForServicesOfOthers(t *testing.T) {
	const theirs = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: theirs, namespace: bank}
spec: {hosts: [catalog.shop.svc.cluster.local], http: [{directResponse: {status: 200}}]}
`
	found, err := analyze.Analyze(nil, "default", around(t, theirs), survey.Sources{})
	for _, want := range []string{"warning bank/theirs spec.hosts[0] catalog.shop.svc.cluster.local is Service shop/catalog of another namespace",
		"warning shop/catalog  VirtualService bank/theirs, of another namespace, has rules for this Service"} {
		if err != nil || !strings.Contains(said(found), want) {
			t.Errorf("got %s (%v), want %s", said(found), err, want)
		}
	}
	strict := file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: heddle, namespace: heddle-system}\ndata: {strictHostOwnership: \"true\"}\n---\n" + theirs)
	found, err = analyze.Analyze(strict, "default", around(t), survey.Sources{})
	if want := "partial bank/theirs spec.hosts[0] not for sidecars: "; err != nil || !strings.Contains(said(found), want) || strings.Contains(said(found), "shop/catalog  ") {
		t.Errorf("got %s (%v), want %s", said(found), err, want)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := analyze.Table(&out, nil); err != nil || out.String() != "nothing to say\n" {
		t.Errorf("got %q (%v)", out.String(), err)
	}
	out.Reset()
	if err := analyze.Table(&out, []analyze.Finding{{Severity: "error", Code: "IST0106", Kind: "Gateway", Namespace: "n", Name: "g", Path: "spec", Reason: "no"}}); err != nil {
		t.Fatal(err)
	}
	if want := "SEVERITY   CODE      KIND      OBJECT   PATH   REASON\nERROR      IST0106   Gateway   n/g      spec   no\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
