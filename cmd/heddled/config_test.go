package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/manifests"
)

func env(name string) string {
	return map[string]string{"POD_NAME": "heddled-0", "POD_NAMESPACE": "heddle-system"}[name]
}

func TestParse(t *testing.T) {
	c, err := parse([]string{"--proxy-image=r/p:1", "--cert-ttl=10s", `--proxy-resources={"limits":{"memory":"64Mi"}}`}, env)
	if err != nil {
		t.Fatal(err)
	}
	selectors, err := parse([]string{"--proxy-image=x", `--never-inject=[{"matchLabels":{"app":"db"}},{"matchExpressions":[{"key":"batch","operator":"Exists"}]}]`,
		`--always-inject=[{"matchLabels":{"mesh":"yes"}}]`, "--proxy-image-pull-secrets=a,b"}, env)
	if p := selectors.proxy; err != nil || len(p.never) != 2 || p.never[0].MatchLabels["app"] != "db" || len(p.always) != 1 || !slices.Equal(p.pullSecrets, []string{"a", "b"}) {
		t.Errorf("got %+v (%v)", selectors.proxy, err)
	}
	aliased, err := parse([]string{"--proxy-image=x", "--trust-domain=new.example.com", "--trust-domain-aliases=cluster.local,*,old.example.com"}, env)
	if own, aliases, wrong := aliased.domains(); err != nil || wrong != nil || own.Name() != "new.example.com" || len(aliases) != 2 || aliases[1].Name() != "old.example.com" {
		t.Errorf("got %s, %s (%v, %v)", own, aliases, err, wrong)
	}
	if c.podName != "heddled-0" || c.certTTL != 10*time.Second || !c.proxy.resources.Limits.Memory().Equal(resource.MustParse("64Mi")) {
		t.Errorf("got %+v", c)
	}
}

// The values of the control-plane chart, the flags' own defaults and what the command line uses without a cluster are one and the same.
func TestDefaultsAreTheCharts(t *testing.T) {
	c, err := manifests.Chart(manifests.ControlPlane, version)
	if err != nil {
		t.Fatal(err)
	}
	const image = "registry/heddle-proxy:test"
	values, err := util.ToRenderValues(c, map[string]any{"proxy": map[string]any{"image": image, "native": true}},
		common.ReleaseOptions{Name: "heddle", Namespace: "heddle-system"}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := (engine.Engine{Strict: true}).RenderWithContext(t.Context(), c, values)
	if err != nil {
		t.Fatal(err)
	}
	var deployment apps.Deployment
	if err := yaml.Unmarshal([]byte(files["control-plane/templates/deployment.yaml"]), &deployment); err != nil {
		t.Fatal(err)
	}
	want := inject.DefaultParams(image, version)
	for why, args := range map[string][]string{
		"the chart": deployment.Spec.Template.Spec.Containers[0].Args,
		"no flags":  {"--proxy-image=" + image, "--proxy-native=true"},
	} {
		told, err := parse(args, env)
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		got := newInjection(told, nil, func() *injects { return &injects{merge: true, allocate: true} }, nil).current()
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", why, diff)
		}
	}
}

// What the chart names by its revision and what heddled calls its own are the same.
func TestARevisionsNamesAreTheCharts(t *testing.T) {
	c, err := manifests.Chart(manifests.ControlPlane, version)
	if err != nil {
		t.Fatal(err)
	}
	values, err := util.ToRenderValues(c, map[string]any{"revision": "canary"}, common.ReleaseOptions{Name: "heddle-canary", Namespace: "heddle-system"}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := (engine.Engine{Strict: true}).RenderWithContext(t.Context(), c, values)
	if err != nil {
		t.Fatal(err)
	}
	var deployment apps.Deployment
	if err := yaml.Unmarshal([]byte(files["control-plane/templates/deployment.yaml"]), &deployment); err != nil {
		t.Fatal(err)
	}
	told, err := parse(deployment.Spec.Template.Spec.Containers[0].Args, env)
	if err != nil {
		t.Fatal(err)
	}
	injects := newInjection(told, nil, func() *injects { return &injects{} }, nil).params
	for file, name := range map[string]string{
		"service":   strings.TrimSuffix(injects.DiscoveryAddress, ".heddle-system.svc:15012"),
		"rbac":      revision.Name(wire.LeaderElectionLease, told.revision),
		"webhooks":  revision.Name(injectorConfiguration, told.revision),
		"configmap": told.mesh().Name,
	} {
		text := files["control-plane/templates/"+file+".yaml"]
		if !strings.Contains(text, name+"\n") && !strings.Contains(text, "["+name+"]") || !strings.HasSuffix(name, "-canary") {
			t.Errorf("%s: no %s in\n%s", file, name, text)
		}
	}
	if injects.Revision != "canary" {
		t.Errorf("what is injected says revision %q", injects.Revision)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		"--proxy-image":       {},
		`--proxy-native "no"`: {"--proxy-image=x", "--proxy-native=no"},
		"-proxy-resources:":   {"--proxy-image=x", "--proxy-resources={"},
		"--cert-ttl 48h":      {"--proxy-image=x", "--cert-ttl=48h"},
		`"stray"`:             {"--proxy-image=x", "stray"},
		"pull-policy":         {"--proxy-image=x", "--proxy-image-pull-policy=Sometimes"},
		"selects by nothing":  {"--proxy-image=x", "--never-inject=[{}]"},
		`unknown field "app"`: {"--proxy-image=x", `--always-inject=[{"app":"x"}]`},
		"never-inject: [0]":   {"--proxy-image=x", `--never-inject=[{"matchExpressions":[{"key":"a","operator":"Like"}]}]`},
		"-unknown":            {"--unknown"},
		`--revision: "A"`:     {"--proxy-image=x", "--revision=A"},
		"--revision default":  {"--proxy-image=x", "--revision=default"},
	} {
		if _, err := parse(args, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", args, err, want)
		}
	}
	if _, err := parse([]string{"--proxy-image=x"}, func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), "POD_NAME") {
		t.Errorf("without a pod's name: %v", err)
	}
}

// TestIstioLabelsCountForObjectsToo: whose pods are Heddle's by Istio's labels, so are the objects of their namespaces.
func TestIstioLabelsCountForObjectsToo(t *testing.T) {
	c, err := parse([]string{"--proxy-image=x", "--istio-labels"}, env)
	if err != nil || !c.mesh().IstioLabels {
		t.Errorf("the mesh is not told: %v", err)
	}
}
