package manifests_test

import (
	"slices"
	"strings"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/manifests"
)

// With compatibility.istio, Istio's labels choose a webhook as they choose one of Istio's, unless Heddle's say something; without, they choose none.
func TestIstioLabelsAreAskedAbout(t *testing.T) {
	const values = "proxy: {alwaysInjectSelector: [{matchLabels: {team: mesh}}]}\n"
	configurations := func(more string) map[string]admission.MutatingWebhookConfiguration {
		out := map[string]admission.MutatingWebhookConfiguration{}
		for name, text := range map[string]string{"heddle-injector": "", "heddle-injector-canary": "revision: canary\n"} {
			out[name] = as[admission.MutatingWebhookConfiguration](t, render(t, manifests.ControlPlane, values+more+text), "MutatingWebhookConfiguration "+name)
		}
		return out
	}
	without, with := configurations(""), configurations("compatibility: {istio: true}\n")
	asked := func(all map[string]admission.MutatingWebhookConfiguration, namespace, pod labels.Set) string {
		var out []string
		for name, configuration := range all {
			for _, hook := range configuration.Webhooks {
				if matches(t, hook.NamespaceSelector, namespace) && matches(t, hook.ObjectSelector, pod) {
					out = append(out, name)
				}
			}
		}
		return strings.Join(out, " ")
	}
	const ours, canary = "heddle-injector", "heddle-injector-canary"
	for _, c := range []struct {
		why            string
		namespace, pod labels.Set
		without, with  string
	}{
		{"a labelled namespace", labels.Set{"istio-injection": "enabled"}, nil, "", ours},
		{"one that says no", labels.Set{"istio-injection": "disabled", "istio.io/rev": "canary"}, labels.Set{"sidecar.istio.io/inject": "true"}, "", ""},
		{"a namespace of a revision", labels.Set{"istio.io/rev": "canary"}, nil, "", canary},
		{"of the default one", labels.Set{"istio.io/rev": "default"}, nil, "", ours},
		{"istio-injection comes before istio.io/rev", labels.Set{"istio-injection": "enabled", "istio.io/rev": "canary"}, nil, "", ours},
		{"a pod that opts in", nil, labels.Set{"sidecar.istio.io/inject": "true"}, "", ours},
		{"a pod that opts out", labels.Set{"istio-injection": "enabled"}, labels.Set{"sidecar.istio.io/inject": "false"}, "", ""},
		{"a pod of a revision", nil, labels.Set{"istio.io/rev": "canary"}, "", canary},
		{"a pod that opts in, of a revision", nil, labels.Set{"istio.io/rev": "canary", "sidecar.istio.io/inject": "true"}, "", canary},
		{"a namespace's revision comes before a pod's", labels.Set{"istio.io/rev": "canary"}, labels.Set{"istio.io/rev": "default"}, "", canary},
		{"Heddle's label of the namespace comes first", labels.Set{"heddle-injection": "disabled", "istio-injection": "enabled"}, nil, "", ""},
		{"and its revision", labels.Set{"heddle.io/rev": "canary", "istio-injection": "enabled"}, nil, canary, canary},
		{"and its label of the pod", labels.Set{"istio-injection": "enabled"}, labels.Set{"sidecar.heddle.io/inject": "false"}, "", ""},
		{"which asks by itself", labels.Set{"istio-injection": "enabled"}, labels.Set{"sidecar.heddle.io/inject": "true"}, ours, ours},
		{"a pod that is always injected", nil, labels.Set{"team": "mesh"}, ours, ours},
		{"one in a labelled namespace is asked about once", labels.Set{"istio-injection": "enabled"}, labels.Set{"team": "mesh"}, ours, ours},
		{"one in a namespace that says no", labels.Set{"istio-injection": "disabled"}, labels.Set{"team": "mesh"}, ours, ""},
		{"one of a revision is asked about once", nil, labels.Set{"team": "mesh", "istio.io/rev": "canary"}, ours, canary},
		{"the cluster's own namespace", labels.Set{"istio-injection": "enabled", core.LabelMetadataName: "kube-system"}, nil, "", ""},
	} {
		namespace := labels.Merge(labels.Set{core.LabelMetadataName: "shop"}, c.namespace)
		if got := asked(without, namespace, c.pod); got != c.without {
			t.Errorf("%s: without compatibility %q is asked, want %q", c.why, got, c.without)
		}
		if got := asked(with, namespace, c.pod); got != c.with {
			t.Errorf("%s: with compatibility %q is asked, want %q", c.why, got, c.with)
		}
	}
}

func TestTheControlPlaneIsToldOfIstioLabels(t *testing.T) {
	for values, want := range map[string]bool{"": false, "compatibility: {istio: true}": true} {
		pod := as[apps.Deployment](t, render(t, manifests.ControlPlane, values), "Deployment heddled").Spec.Template.Spec
		if got := slices.Contains(pod.Containers[0].Args, "--istio-labels"); got != want {
			t.Errorf("%q: --istio-labels %v, want %v", values, got, want)
		}
	}
}

// istioInjector is a cluster with the webhook of Istio's injector.
type istioInjector struct{ name string }

// GetClientFor implements engine.ClientProvider.
func (i istioInjector) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	there := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
		"metadata": map[string]any{"name": i.name}}}
	return holding(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}, "MutatingWebhookConfigurationList", there), false, nil
}

// Two injectors that are asked about the same pods would put two proxies into each.
func TestIstioLabelsCountOnlyWhereItsInjectorIsGone(t *testing.T) {
	c, err := manifests.Chart(manifests.ControlPlane, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		there, revision string
		istio, fails    bool
	}{
		{"istio-sidecar-injector", "", true, true}, {"istio-revision-tag-default", "", true, true}, {"istio-sidecar-injector", "", false, false},
		{"istio-sidecar-injector", "canary", true, false}, {"somebody-elses", "", true, false},
	} {
		values, err := util.ToRenderValues(c, map[string]any{"revision": k.revision, "compatibility": map[string]any{"istio": k.istio}},
			common.ReleaseOptions{Name: "heddle", Namespace: wire.SystemNamespace}, common.DefaultCapabilities)
		if err != nil {
			t.Fatal(err)
		}
		_, err = engine.RenderWithClientProvider(c, values, istioInjector{k.there})
		if failed := err != nil && strings.Contains(err.Error(), "Istio's injector is still there"); failed != k.fails || !k.fails && err != nil {
			t.Errorf("%+v: %v", k, err)
		}
	}
}
