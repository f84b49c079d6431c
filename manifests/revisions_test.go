package manifests_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
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

// Beside each other, the webhooks of revisions and tags ask about each pod once: its label comes before its namespace's, and heddle-injection of a
// namespace before the namespace's revision.
func TestOneRevisionTakesEachPod(t *testing.T) {
	always := "proxy: {alwaysInjectSelector: [{matchLabels: {team: mesh}}]}\n"
	configurations := map[string]admission.MutatingWebhookConfiguration{}
	for name, values := range map[string]string{"heddle-injector": always, "heddle-injector-canary": always + "revision: canary\n", "heddle-tag-prod": always + "revision: canary\ntag: prod\n"} {
		configurations[name] = as[admission.MutatingWebhookConfiguration](t, render(t, manifests.ControlPlane, values), "MutatingWebhookConfiguration "+name)
	}
	for _, c := range []struct {
		why                         string
		injection, revision         string // labels of the namespace
		pod, podRevision, namespace string
		more                        labels.Set
		want                        string
	}{
		{why: "a labelled namespace", injection: "enabled", want: "heddle-injector"},
		{why: "a namespace of a revision", revision: "canary", want: "heddle-injector-canary"},
		{why: "a namespace of a tag", revision: "prod", want: "heddle-tag-prod"},
		{why: "a namespace of the default revision by its name", revision: "default", want: "heddle-injector"},
		{why: "a namespace of a revision that there is not", revision: "gone"},
		{why: "a pod of a revision in no mesh's namespace", podRevision: "canary", want: "heddle-injector-canary"},
		{why: "a pod of a tag in a labelled namespace", injection: "enabled", podRevision: "prod", want: "heddle-tag-prod"},
		{why: "a pod of a revision in a namespace of another", revision: "prod", podRevision: "canary", want: "heddle-injector-canary"},
		{why: "a pod of the default revision in a namespace of another", revision: "canary", podRevision: "default", want: "heddle-injector"},
		{why: "heddle-injection comes before the namespace's revision", injection: "enabled", revision: "canary", want: "heddle-injector"},
		{why: "also where it says no", injection: "disabled", revision: "canary"},
		{why: "and to a pod of a revision", injection: "disabled", podRevision: "canary"},
		{why: "a pod that opts in belongs to its namespace's revision", revision: "canary", pod: "true", want: "heddle-injector-canary"},
		{why: "a pod that opts in on its own belongs to the default revision", pod: "true", want: "heddle-injector"},
		{why: "a pod that opts in for a revision", pod: "true", podRevision: "canary", want: "heddle-injector-canary"},
		{why: "a pod that opts out of its namespace's revision", revision: "canary", pod: "false"},
		{why: "a pod that opts out, and says a revision", podRevision: "canary", pod: "false"},
		{why: "a pod that is always injected", more: labels.Set{"team": "mesh"}, want: "heddle-injector"},
		{why: "one in a namespace of a revision", revision: "canary", more: labels.Set{"team": "mesh"}, want: "heddle-injector-canary"},
		{why: "one of a revision", podRevision: "canary", more: labels.Set{"team": "mesh"}, want: "heddle-injector-canary"},
		{why: "the cluster's own namespace", namespace: "kube-system", revision: "canary"},
		{why: "the control plane's namespace", namespace: wire.SystemNamespace, podRevision: "canary"},
		{why: "no label at all"},
	} {
		namespace, pod := labels.Set{core.LabelMetadataName: "shop"}, labels.Merge(nil, c.more)
		for _, set := range []struct {
			to         labels.Set
			key, value string
		}{{namespace, wire.InjectionLabel, c.injection}, {namespace, wire.RevisionLabel, c.revision}, {pod, wire.PodInjectLabel, c.pod},
			{pod, wire.RevisionLabel, c.podRevision}, {namespace, core.LabelMetadataName, c.namespace}} {
			if set.value != "" {
				set.to[set.key] = set.value
			}
		}
		var asked []string
		for name, configuration := range configurations {
			for _, hook := range configuration.Webhooks {
				if matches(t, hook.NamespaceSelector, namespace) && matches(t, hook.ObjectSelector, pod) {
					asked = append(asked, name)
				}
			}
		}
		if got := strings.Join(asked, " "); got != c.want {
			t.Errorf("%s: asked %q, want %q", c.why, got, c.want)
		}
	}
}

// tagged is a cluster that holds the tag "default".
type tagged struct{}

// GetClientFor implements engine.ClientProvider.
func (tagged) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	there := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
		"metadata": map[string]any{"name": "heddle-tag-default"}}}
	return holding(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}, "MutatingWebhookConfigurationList", there), false, nil
}

// An upgrade of the default revision must not take back what the tag "default" has.
func TestTheDefaultRevisionYieldsToTheTag(t *testing.T) {
	c, err := manifests.Chart(manifests.ControlPlane, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for revision, want := range map[string]bool{"": false, "canary": true} {
		values, err := util.ToRenderValues(c, map[string]any{"revision": revision}, common.ReleaseOptions{Name: "heddle", Namespace: wire.SystemNamespace}, common.DefaultCapabilities)
		if err != nil {
			t.Fatal(err)
		}
		files, err := engine.RenderWithClientProvider(c, values, tagged{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(files["control-plane/templates/webhooks.yaml"], "rev.namespace.injector.heddle.dev"); got != want {
			t.Errorf("revision %q: webhooks %v, want %v in\n%s", revision, got, want, files["control-plane/templates/webhooks.yaml"])
		}
	}
}

func TestNamesOfRevisions(t *testing.T) {
	for values, want := range map[string]string{
		"revision: default":                    "the default revision is the one without a name",
		"revision: Canary":                     "is no name of a revision or a tag",
		"revision: a-":                         "is no name of a revision or a tag",
		`tag: "1.2"`:                           "is no name of a revision or a tag",
		"revision: " + strings.Repeat("a", 41): "is no name of a revision or a tag",
		"revision: " + strings.Repeat("a", 40): "",
		"revision: canary\ntag: default":       "",
		"revision: 1-2\ntag: prod":             "",
	} {
		_, err := tryRender(manifests.ControlPlane, values)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", values, err, want)
		}
	}
}

// A revision may do what the default one may, but for webhooks: it writes into its own, and into no other.
func TestRightsOfARevision(t *testing.T) {
	first := as[rbac.ClusterRole](t, render(t, manifests.Base, ""), "ClusterRole heddle-control-plane")
	second := as[rbac.ClusterRole](t, render(t, manifests.Base, "revision: canary"), "ClusterRole heddle-control-plane-canary")
	webhooks := func(r rbac.PolicyRule) bool { return slices.Contains(r.APIGroups, "admissionregistration.k8s.io") }
	var own []string
	for _, r := range second.Rules {
		if webhooks(r) {
			own = append(own, r.ResourceNames...)
		}
	}
	if !slices.Equal(own, []string{"heddle-injector-canary"}) {
		t.Errorf("it may write into %v", own)
	}
	if diff := cmp.Diff(slices.DeleteFunc(first.Rules, webhooks), slices.DeleteFunc(second.Rules, webhooks)); diff != "" {
		t.Error(diff)
	}
}

func TestAGatewayOfARevision(t *testing.T) {
	for values, want := range map[string]string{"": "heddled.heddle-system.svc:15012", "revision: default": "heddled.heddle-system.svc:15012", "revision: canary": "heddled-canary.heddle-system.svc:15012"} {
		pod := as[apps.Deployment](t, render(t, manifests.Gateway, values), "Deployment internet").Spec.Template
		at := slices.IndexFunc(pod.Spec.Containers[0].Env, func(e core.EnvVar) bool { return e.Name == wire.EnvDiscoveryAddress })
		if got := pod.Spec.Containers[0].Env[at].Value; got != want {
			t.Errorf("%q: it talks to %s, want %s", values, got, want)
		}
		if got := "revision: " + pod.Labels[wire.RevisionLabel]; got != values && values != "" {
			t.Errorf("%q: its pods say %s", values, got)
		}
	}
}
