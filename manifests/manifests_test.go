package manifests_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/manifests"
	validation "github.com/heddle-mesh/heddle/pilot/admission"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// object is what every document has.
type object struct {
	Kind     string          `json:"kind"`
	Metadata meta.ObjectMeta `json:"metadata"`
}

// render returns the documents of a chart by "Kind name".
func render(t *testing.T, chart, values string) map[string]string {
	t.Helper()
	out, err := tryRender(chart, values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryRender(chart, values string) (map[string]string, error) {
	c, err := manifests.Chart(chart, "v1.2.3")
	if err != nil {
		return nil, err
	}
	var vals map[string]any
	if err := yaml.Unmarshal([]byte(values), &vals); err != nil {
		return nil, err
	}
	name := "heddle"
	if chart == manifests.Gateway {
		name = "internet"
	}
	all, err := util.ToRenderValues(c, vals, common.ReleaseOptions{Name: name, Namespace: wire.SystemNamespace}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := (engine.Engine{Strict: true}).RenderWithContext(context.Background(), c, all)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for file, text := range files {
		for _, document := range strings.Split("\n"+text, "\n---\n") {
			var o object
			if err := yaml.Unmarshal([]byte(document), &o); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", file, err, document)
			}
			if o.Kind != "" {
				out[o.Kind+" "+o.Metadata.Name] = strings.TrimSpace(document) + "\n"
			}
		}
	}
	return out, nil
}

func as[T any](t *testing.T, documents map[string]string, key string) T {
	t.Helper()
	var v T
	if documents[key] == "" {
		t.Fatalf("no %s in %v", key, keys(documents))
	}
	if err := yaml.UnmarshalStrict([]byte(documents[key]), &v); err != nil {
		t.Fatalf("%s: %v\n%s", key, err, documents[key])
	}
	return v
}

func keys(m map[string]string) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestCharts(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		out := render(t, strings.TrimSpace(c.Files["chart"]), c.Files["values.yaml"])
		out["objects"] = strings.Join(keys(out), "\n")
		return out
	})
}

func TestControlPlaneHasNoWildcardAndReadsNoSecretClusterWide(t *testing.T) {
	for key := range render(t, manifests.Base, "") {
		if !strings.HasPrefix(key, "ClusterRole ") {
			continue
		}
		role := as[rbac.ClusterRole](t, render(t, manifests.Base, ""), key)
		for _, rule := range role.Rules {
			for _, field := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
				if slices.ContainsFunc(field, func(s string) bool { return strings.Contains(s, "*") }) {
					t.Errorf("%s has a wildcard: %v", key, rule)
				}
			}
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s reads Secrets in every namespace: %v", key, rule)
			}
		}
	}
}

func TestWebhooksMatchNamespaces(t *testing.T) {
	documents := render(t, manifests.ControlPlane, `
proxy:
  alwaysInjectSelector:
  - matchLabels: {team: mesh}
  - matchExpressions: [{key: batch, operator: Exists}]
  neverInjectSelector: [{matchLabels: {team: mesh}}]
`)
	injector := as[admission.MutatingWebhookConfiguration](t, documents, "MutatingWebhookConfiguration heddle-injector")
	validator := as[admission.ValidatingWebhookConfiguration](t, documents, "ValidatingWebhookConfiguration heddle-validator")
	for _, hook := range injector.Webhooks {
		if hook.ClientConfig.CABundle != nil || *hook.FailurePolicy != admission.Fail || *hook.SideEffects != admission.SideEffectClassNone {
			t.Errorf("%s: caBundle %q, failurePolicy %s, sideEffects %s", hook.Name, hook.ClientConfig.CABundle, *hook.FailurePolicy, *hook.SideEffects)
		}
	}
	for n, want := range []struct {
		name   string
		groups []string
	}{{validation.Webhook, []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"}}, {"ingress." + validation.Webhook, []string{"networking.k8s.io", "networking.k8s.io"}}} {
		hook := validator.Webhooks[n]
		var groups []string
		for _, rule := range hook.Rules {
			groups = append(groups, rule.APIGroups...)
		}
		if hook.Name != want.name || hook.ClientConfig.CABundle != nil || *hook.FailurePolicy != admission.Ignore || !slices.Equal(groups, want.groups) {
			t.Errorf("%s: caBundle %q, failurePolicy %s, of %v", hook.Name, hook.ClientConfig.CABundle, *hook.FailurePolicy, groups)
		}
	}
	for _, c := range []struct {
		why, namespace, label, pod string
		more                       labels.Set // labels of the pod
		asked, validated           bool
	}{
		{"a labelled namespace", "shop", "enabled", "", nil, true, true},
		{"a pod that opts out of it", "shop", "enabled", "false", nil, false, true},
		{"a pod that opts in on its own", "plain", "", "true", nil, true, true},
		{"a pod that says nothing", "plain", "", "", nil, false, true},
		{"a namespace that opts out beats the pod", "closed", "disabled", "true", nil, false, true},
		{"the cluster's own namespace", "kube-system", "enabled", "true", nil, false, false},
		{"the control plane's namespace", "heddle-system", "enabled", "true", nil, false, false},
		{"a pod that is always injected", "plain", "", "", labels.Set{"team": "mesh"}, true, true},
		{"a pod that an expression always injects", "plain", "", "", labels.Set{"batch": ""}, true, true},
		{"one that opts in itself is asked about once", "plain", "", "true", labels.Set{"team": "mesh"}, true, true},
		{"one that opts out", "plain", "", "false", labels.Set{"team": "mesh"}, false, true},
		{"one in a namespace that opts out", "closed", "disabled", "", labels.Set{"team": "mesh"}, false, true},
		{"one in a labelled namespace is asked about once", "shop", "enabled", "", labels.Set{"team": "mesh"}, true, true},
		{"one in the cluster's own namespace, unlabelled", "kube-system", "", "", labels.Set{"team": "mesh"}, false, false},
		{"one in the control plane's namespace, unlabelled", "heddle-system", "", "", labels.Set{"team": "mesh"}, false, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			namespace := labels.Set{core.LabelMetadataName: c.namespace}
			if c.label != "" {
				namespace[wire.InjectionLabel] = c.label
			}
			pod := labels.Merge(nil, c.more)
			if c.pod != "" {
				pod[wire.PodInjectLabel] = c.pod
			}
			count := 0
			for _, hook := range injector.Webhooks {
				if matches(t, hook.NamespaceSelector, namespace) && matches(t, hook.ObjectSelector, pod) {
					count++
				}
			}
			if want := map[bool]int{true: 1, false: 0}[c.asked]; count != want {
				t.Errorf("%d webhooks match, want %d", count, want)
			}
			for _, hook := range validator.Webhooks {
				if got := matches(t, hook.NamespaceSelector, namespace); got != c.validated {
					t.Errorf("%s: validated %v, want %v", hook.Name, got, c.validated)
				}
			}
		})
	}
}

func matches(t *testing.T, selector *meta.LabelSelector, set labels.Set) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(set)
}

// Everything that the charts run keeps to the level "restricted".
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	for chart, name := range map[string]string{manifests.ControlPlane: "heddled", manifests.Gateway: "internet"} {
		d := as[apps.Deployment](t, render(t, chart, ""), "Deployment "+name)
		for _, r := range evaluator.EvaluatePod(level, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec) {
			if !r.Allowed {
				t.Errorf("%s: %s: %s", name, r.ForbiddenReason, r.ForbiddenDetail)
			}
		}
	}
}

// Pilot understands every setting that the values can make.
func TestPilotUnderstandsTheSettings(t *testing.T) {
	values := "accessLog: {enabled: true, encoding: JSON, format: '{}'}\ntracing: {endpoint: 'collector:4317', sampling: 50}\ntrustDomainAliases: [old]\noutboundTrafficPolicy: REGISTRY_ONLY\n"
	for _, v := range []string{"", values} {
		settings := as[core.ConfigMap](t, render(t, manifests.ControlPlane, v), "ConfigMap heddle")
		config, problems, err := inputs.DecodeMesh([]byte(settings.Data[wire.MeshConfigMapKey]))
		if err != nil || len(problems) > 0 {
			t.Fatalf("reading settings: %v %v", problems, err)
		}
		mesh := source.DefaultMesh()
		mesh.Config = config
		_, said := translate.Translate(&inputs.Inputs{Mesh: mesh}, nil)
		for _, entry := range said.Entries {
			if len(entry.Issues) > 0 && v == "" || entry.State != report.Accepted {
				t.Errorf("%s", entry)
			}
		}
	}
}

// The selectors and the Secrets to pull with reach the control plane's command line.
func TestWhatIsSaidOfInjectionReachesTheControlPlane(t *testing.T) {
	values := "imagePullSecrets: [{name: one}, {name: two}]\nproxy: {neverInjectSelector: [{matchLabels: {a: b}}], alwaysInjectSelector: [{matchLabels: {c: d}}]}\n"
	pod := as[apps.Deployment](t, render(t, manifests.ControlPlane, values), "Deployment heddled").Spec.Template.Spec
	for _, want := range []string{"--proxy-image-pull-secrets=one,two", `--never-inject=[{"matchLabels":{"a":"b"}}]`, `--always-inject=[{"matchLabels":{"c":"d"}}]`} {
		if !slices.Contains(pod.Containers[0].Args, want) {
			t.Errorf("no %s in %q", want, pod.Containers[0].Args)
		}
	}
	if len(pod.ImagePullSecrets) != 2 {
		t.Errorf("the control plane's own: %v", pod.ImagePullSecrets)
	}
}

// holding is a cluster's objects of one kind: one.
func holding(of schema.GroupVersionResource, listKind string, there *unstructured.Unstructured) dynamic.NamespaceableResourceInterface {
	return fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{of: listKind}, there).Resource(of)
}

// deployments is a cluster that holds one Deployment, for the charts that look around.
type deployments struct{ namespace, name, istio string }

// GetClientFor implements engine.ClientProvider.
func (d deployments) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	there := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": d.name, "namespace": d.namespace},
		"spec":     map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"istio": d.istio}}}}}}
	return holding(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "DeploymentList", there), true, nil
}

func TestOneGatewayCarriesEachIstioLabel(t *testing.T) {
	c, err := manifests.Chart(manifests.Gateway, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for why, k := range map[string]struct {
		there  deployments
		values map[string]any
		want   string
	}{
		"the second ingress":                  {deployments{"edge", "other", "ingressgateway"}, map[string]any{"istio": "ingressgateway"}, "deployment edge/other already carries istio: ingressgateway"},
		"the second ingress, by its labels":   {deployments{"edge", "other", "ingressgateway"}, map[string]any{"labels": map[string]any{"istio": "ingressgateway"}}, "edge/other already carries"},
		"the second egress":                   {deployments{"edge", "other", "egressgateway"}, map[string]any{"istio": "egressgateway"}, "edge/other already carries istio: egressgateway"},
		"one of each":                         {deployments{"edge", "other", "egressgateway"}, map[string]any{"istio": "ingressgateway"}, ""},
		"its own upgrade":                     {deployments{"gateways", "internet", "ingressgateway"}, map[string]any{"istio": "ingressgateway"}, ""},
		"the same name in another namespace":  {deployments{"edge", "internet", "ingressgateway"}, map[string]any{"istio": "ingressgateway"}, "edge/internet already carries"},
		"a second gateway that carries none":  {deployments{"edge", "other", "ingressgateway"}, nil, ""},
		"a label that nobody else's is about": {deployments{"edge", "other", "custom"}, map[string]any{"labels": map[string]any{"istio": "custom"}}, ""},
	} {
		values, err := util.ToRenderValues(c, k.values, common.ReleaseOptions{Name: "internet", Namespace: "gateways"}, common.DefaultCapabilities)
		if err != nil {
			t.Fatal(err)
		}
		_, err = engine.RenderWithClientProvider(c, values, k.there)
		if k.want == "" && err != nil || k.want != "" && (err == nil || !strings.Contains(err.Error(), k.want)) {
			t.Errorf("%s: got %v, want %q", why, err, k.want)
		}
	}
}

func TestGatewayRefusesAnUnknownIstioLabel(t *testing.T) {
	if _, err := tryRender(manifests.Gateway, "istio: somegateway"); err == nil || !strings.Contains(err.Error(), "neither ingressgateway nor egressgateway") {
		t.Errorf("got %v", err)
	}
}

func TestChartVersions(t *testing.T) {
	for version, want := range map[string]string{"v1.2.3": "1.2.3", "dev": "0.0.0-dev", "": "0.0.0-", "a/b": "0.0.0-a-b"} {
		c, err := manifests.Chart(manifests.Base, version)
		if err != nil {
			t.Fatal(err)
		}
		if c.Metadata.Version != want {
			t.Errorf("chart version of %q is %q, want %q", version, c.Metadata.Version, want)
		}
	}
}

func TestDefinitionsAreStamped(t *testing.T) {
	crds, err := manifests.CRDs("v1.2.3+abc")
	if err != nil {
		t.Fatalf("%v", err)
	}
	groups := map[string]int{}
	for _, crd := range crds {
		groups[crd.Spec.Group]++
		if crd.Labels[wire.VersionLabel] != "v1.2.3_abc" {
			t.Errorf("%s is stamped %q", crd.Name, crd.Labels[wire.VersionLabel])
		}
	}
	for _, group := range []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io"} {
		if groups[group] == 0 {
			t.Errorf("no definition of %s", group)
		}
	}
	if len(groups) != 4 {
		t.Errorf("definitions of other groups: %v", groups)
	}
}

func TestExportedChartsAreWholeCharts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{manifests.Base, manifests.ControlPlane, manifests.Gateway} {
		if err := manifests.Export(name, "v1.2.3", dir); err != nil {
			t.Fatal(err)
		}
		c, err := loader.Load(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if c.Metadata.Version != "1.2.3" || c.Metadata.AppVersion != "v1.2.3" || len(c.Templates) == 0 {
			t.Errorf("%s: version %s, app version %s, %d templates", name, c.Metadata.Version, c.Metadata.AppVersion, len(c.Templates))
		}
		crds := c.CRDObjects()
		if (len(crds) > 0) != (name == manifests.Base) {
			t.Errorf("%s has %d definitions", name, len(crds))
		}
		for _, crd := range crds {
			if text := string(crd.File.Data); strings.Contains(text, `"status":{"conditions"`) || !strings.Contains(text, `"heddle.dev/version":"v1.2.3"`) {
				t.Errorf("%s: a status, or no stamp", crd.Name)
			}
		}
	}
}
