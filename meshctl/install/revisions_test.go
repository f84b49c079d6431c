package install

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttest "k8s.io/client-go/testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/manifests"
)

func plane(name string) *apps.Deployment {
	return &apps.Deployment{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: name}}
}

func hooks(name, bundle string) *admission.MutatingWebhookConfiguration {
	return &admission.MutatingWebhookConfiguration{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}},
		Webhooks: []admission.MutatingWebhook{{Name: "namespace.injector.heddle.dev", ClientConfig: admission.WebhookClientConfig{CABundle: []byte(bundle)}}}}
}

// two is a cluster with the default revision and canary.
func two(more ...runtime.Object) []runtime.Object {
	root := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: wire.RootConfigMap}, Data: map[string]string{wire.RootConfigMapKey: "root"}}
	validator := &admission.ValidatingWebhookConfiguration{ObjectMeta: meta.ObjectMeta{Name: ValidatorConfiguration}}
	return append([]runtime.Object{plane("heddled"), plane("heddled-canary"), root, validator, hooks("heddle-injector", "root"), hooks("heddle-injector-canary", "root")}, more...)
}

func labelledFor(name, of string) *core.Namespace {
	return &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{wire.RevisionLabel: of}}}
}

// trusting has heddled write its root into webhooks, as it does at once.
func trusting(kube *fake.Clientset) {
	kube.PrependReactor("get", "mutatingwebhookconfigurations", func(a clienttest.Action) (bool, runtime.Object, error) {
		found, err := kube.Tracker().Get(a.GetResource(), "", a.(clienttest.GetAction).GetName())
		if err != nil {
			return true, nil, err
		}
		out := found.DeepCopyObject().(*admission.MutatingWebhookConfiguration)
		for n := range out.Webhooks {
			out.Webhooks[n].ClientConfig.CABundle = []byte("root")
		}
		return true, out, nil
	})
}

func configuration(t *testing.T, kube *fake.Clientset, name string) *admission.MutatingWebhookConfiguration {
	t.Helper()
	found, err := kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), name, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func hookNames(c *admission.MutatingWebhookConfiguration) string {
	var names []string
	for _, h := range c.Webhooks {
		names = append(names, strings.TrimSuffix(h.Name, ".injector.heddle.dev"))
	}
	return strings.Join(names, " ")
}

// A tag answers to Istio's labels as its control plane does.
func TestATagAnswersToIstioLabels(t *testing.T) {
	i, kube, _, _ := installer(two())
	i.helm = helmOf(recorded(t, manifests.ControlPlane, wire.SystemNamespace, Release, "v1", map[string]any{"compatibility": map[string]any{"istio": true}}))
	if err := i.SetTag(t.Context(), "prod", false); err != nil {
		t.Fatal(err)
	}
	if got := hookNames(configuration(t, kube, "heddle-tag-prod")); got != "rev.namespace rev.object istio.rev.namespace istio.rev.object" {
		t.Errorf("webhooks %s", got)
	}
}

// TestTags follows a tag from one revision to another and away.
func TestTags(t *testing.T) {
	i, kube, _, _ := installer(two(labelledFor("shop", "prod")))
	if err := i.Of("canary").SetTag(t.Context(), "prod", false); err != nil {
		t.Fatal(err)
	}
	made := configuration(t, kube, "heddle-tag-prod")
	if got := hookNames(made); got != "rev.namespace rev.object" {
		t.Errorf("webhooks %s", got)
	}
	for _, h := range made.Webhooks {
		if h.ClientConfig.Service.Name != "heddled-canary" || string(h.ClientConfig.CABundle) != "root" {
			t.Errorf("%s leads to %+v with root %q", h.Name, h.ClientConfig.Service, h.ClientConfig.CABundle)
		}
	}
	tags, err := i.Tags(t.Context())
	if err != nil || len(tags) != 1 || tags[0].Name != "prod" || tags[0].Revision != "canary" || !tags[0].Trusted || !slices.Equal(tags[0].Namespaces, []string{"shop"}) {
		t.Errorf("tags %+v (%v)", tags, err)
	}
	if err := i.SetTag(t.Context(), "prod", false); !errors.Is(err, ErrTagTaken) || !strings.Contains(err.Error(), "stands for revision canary") {
		t.Errorf("moving it unasked: %v", err)
	}
	if err := i.Of("canary").SetTag(t.Context(), "prod", false); err != nil {
		t.Errorf("setting it again: %v", err)
	}
	if err := i.SetTag(t.Context(), "prod", true); err != nil {
		t.Fatal(err)
	}
	if moved := configuration(t, kube, "heddle-tag-prod"); moved.Webhooks[0].ClientConfig.Service.Name != "heddled" || moved.Labels[wire.RevisionLabel] != "default" {
		t.Errorf("moved to %+v, labels %v", moved.Webhooks[0].ClientConfig.Service, moved.Labels)
	}
	if err := i.RemoveTag(t.Context(), "prod", false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "shop") {
		t.Errorf("removing it while a namespace is labelled: %v", err)
	}
	if err := i.RemoveTag(t.Context(), "prod", true); err != nil {
		t.Error(err)
	}
	if err := i.RemoveTag(t.Context(), "prod", true); !errors.Is(err, ErrNoTag) {
		t.Errorf("removing it again: %v", err)
	}
}

// The tag "default" takes what is the default revision's, and gives it back.
func TestTheTagDefault(t *testing.T) {
	i, kube, _, _ := installer(two())
	trusting(kube)
	if err := i.Of("canary").SetTag(t.Context(), "default", false); err != nil {
		t.Fatal(err)
	}
	if got := hookNames(configuration(t, kube, "heddle-tag-default")); got != "rev.namespace rev.object namespace object" {
		t.Errorf("the tag's webhooks: %s", got)
	}
	if got := hookNames(configuration(t, kube, "heddle-injector")); got != "" {
		t.Errorf("the default revision kept %s", got)
	}
	if err := i.RemoveTag(t.Context(), "default", false); err != nil {
		t.Fatal(err)
	}
	back := configuration(t, kube, "heddle-injector")
	if got := hookNames(back); got != "rev.namespace rev.object namespace object" {
		t.Errorf("the default revision got back %s", got)
	}
	if back.Labels["app.kubernetes.io/managed-by"] != "Helm" {
		t.Errorf("what Helm knows it by is lost: %v", back.Labels)
	}
}

func TestTagsThatCannotBe(t *testing.T) {
	for why, c := range map[string]struct{ tag, of, want string }{
		"of a revision that there is not": {"prod", "gone", "revision gone is not installed; there are: canary, default"},
		"called as a revision":            {"canary", "", "there is a revision canary"},
		"no name":                         {"Prod", "canary", "is no name of a revision or a tag"},
		"default for the default":         {"default", "", "is so without a tag"},
	} {
		i, _, _, _ := installer(two())
		if err := i.Of(c.of).SetTag(t.Context(), c.tag, true); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", why, err, c.want)
		}
	}
	unpublished := slices.DeleteFunc(two(), func(o runtime.Object) bool { _, is := o.(*core.ConfigMap); return is })
	i, _, _, _ := installer(unpublished)
	if err := i.Of("canary").SetTag(t.Context(), "prod", true); err == nil || !strings.Contains(err.Error(), "root is not published yet") {
		t.Errorf("without a root: %v", err)
	}
}

func TestRevisionsThatCannotBe(t *testing.T) {
	tag := hooks("heddle-tag-prod", "root")
	tag.Labels = map[string]string{wire.TagLabel: "prod", wire.RevisionLabel: "canary"}
	for why, c := range map[string]struct {
		objects []runtime.Object
		of      string
		values  map[string]any
		want    string
	}{
		"before the default one":   {nil, "canary", nil, "needs the default revision beside it"},
		"called as a tag":          {two(tag), "prod", nil, "there is a tag prod already, of revision canary"},
		"no name":                  {two(), "v1.2", nil, "is no name of a revision or a tag"},
		"a name among the values":  {two(), "", map[string]any{"revision": "x"}, "a revision is chosen by --revision"},
		"a tag among the values":   {two(), "canary", map[string]any{"tag": "x"}, "meshctl tag makes tags"},
		"beside the default one":   {two(), "another", nil, ""},
		"the default one, by name": {nil, "default", nil, ""},
	} {
		i, _, _, _ := installer(c.objects)
		i.options.Values = c.values
		err := i.Of(c.of).mayInstall(t.Context())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", why, err, c.want)
		}
	}
}

// remembering is Helm that keeps its releases from one action to the next.
func remembering(t *testing.T, releases ...*release.Release) (func(string) (*action.Configuration, error), func(name string) *release.Release) {
	t.Helper()
	memory := driver.NewMemory()
	store := storage.Init(memory)
	for _, r := range releases {
		memory.SetNamespace(r.Namespace)
		if err := store.Create(r); err != nil {
			t.Fatal(err)
		}
	}
	helm := func(namespace string) (*action.Configuration, error) {
		config := action.NewConfiguration()
		config.Releases, config.KubeClient = store, &kubefake.PrintingKubeClient{Out: io.Discard}
		memory.SetNamespace(namespace)
		return config, nil
	}
	return helm, func(name string) *release.Release {
		memory.SetNamespace(wire.SystemNamespace)
		found, err := store.Last(name)
		if err != nil {
			return nil
		}
		return found.(*release.Release)
	}
}

// A revision's control plane agrees with the default one about what their workloads have to agree on, and has a version of its own.
func TestARevisionFollowsTheDefaultOne(t *testing.T) {
	i, _, _, _ := installer(nil)
	i.helm = helmOf(recorded(t, manifests.ControlPlane, wire.SystemNamespace, Release, "v1", map[string]any{
		"image": map[string]any{"registry": "r", "tag": "t"}, "trustDomain": "example.org", "tokenAudience": "mesh", "replicas": 5}))
	c, err := manifests.Chart(manifests.ControlPlane, "v2")
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Of("canary").follow(c, Release, agreed()); err != nil {
		t.Fatal(err)
	}
	image := c.Values["image"].(map[string]any)
	if image["registry"] != "r" || image["tag"] != "" || c.Values["trustDomain"] != "example.org" || c.Values["tokenAudience"] != "mesh" || c.Values["replicas"] != float64(2) {
		t.Errorf("got %v", c.Values)
	}
}

func TestAGatewayStaysWithItsRevision(t *testing.T) {
	i, _, _, _ := installer(nil)
	i.helm = helmOf(recorded(t, manifests.Gateway, "edge", "internet", "v1", map[string]any{"revision": "canary"}))
	for why, c := range map[string]struct {
		name, asked string
		reset       bool
		want        string
	}{
		"nothing is said":      {"internet", "", false, "canary"},
		"another is said":      {"internet", "next", false, "next"},
		"back to the default":  {"internet", "default", false, "default"},
		"values are forgotten": {"internet", "", true, ""},
		"a new gateway":        {"other", "", false, ""},
	} {
		i := i.Of(c.asked)
		i.options.Reset = c.reset
		if got, err := i.gatewayRevision(c.name, "edge"); err != nil || got != c.want {
			t.Errorf("%s: %q (%v), want %q", why, got, err, c.want)
		}
	}
}

// Revisions share definitions: an older one beside a newer must not take fields away.
func TestARevisionDowngradesNoDefinition(t *testing.T) {
	crds, err := manifests.CRDs("v9")
	if err != nil {
		t.Fatal(err)
	}
	newer := crds[1]
	i, _, ext, _ := installer(nil, newer)
	applied := map[string]bool{}
	ext.PrependReactor("patch", "customresourcedefinitions", func(a clienttest.Action) (bool, runtime.Object, error) {
		applied[a.(clienttest.PatchAction).GetName()] = true
		return true, &extensions.CustomResourceDefinition{}, nil
	})
	ext.PrependReactor("list", "customresourcedefinitions", func(clienttest.Action) (bool, runtime.Object, error) {
		return true, &extensions.CustomResourceDefinitionList{}, nil
	})
	if err := i.Of("canary").definitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if applied[newer.Name] || len(applied) != len(crds)-1 {
		t.Errorf("%d applied, the newer one: %v", len(applied), applied[newer.Name])
	}
}

func TestUninstallingARevision(t *testing.T) {
	injected := pod("shop", "web", nil, map[string]string{wire.StatusAnnotation: `{"revision":"canary"}`})
	others := pod("shop", "old", nil, map[string]string{wire.StatusAnnotation: `{}`})
	done := injected.DeepCopy()
	done.Name, done.Status.Phase = "job", core.PodSucceeded
	lease := func(name string) *coordination.Lease {
		return &coordination.Lease{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: name}}
	}
	tag := hooks("heddle-tag-prod", "root")
	tag.Labels = map[string]string{wire.TagLabel: "prod", wire.RevisionLabel: "canary"}
	gateway := recorded(t, manifests.Gateway, "edge", "internet", "v1", map[string]any{"revision": "canary"})
	canary := recorded(t, manifests.ControlPlane, wire.SystemNamespace, "heddle-canary", "v1", nil)
	ours := recorded(t, manifests.ControlPlane, wire.SystemNamespace, Release, "v1", nil)
	i, kube, _, _ := installer(two(injected, others, done, tag, labelledFor("shop", "canary"), lease("heddle-leader"), lease("heddle-leader-canary")))
	var left func(string) *release.Release
	i.helm, left = remembering(t, gateway, canary, ours)
	i = i.Of("canary")
	err := i.Uninstall(t.Context(), Removal{})
	for _, want := range []string{"1 pods run its proxy (shop/web)", "1 gateways are installed for it (edge/internet)", "1 tags stand for it (prod)", "1 namespaces are labelled for it"} {
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := i.Uninstall(t.Context(), Removal{Force: true, Purge: true}); err == nil || !strings.Contains(err.Error(), "--purge goes without --revision") {
		t.Errorf("purging: %v", err)
	}
	if err := i.Of("gone").Uninstall(t.Context(), Removal{Force: true}); err == nil || !strings.Contains(err.Error(), "revision gone is not installed") {
		t.Errorf("one that is not there: %v", err)
	}
	if err := i.Uninstall(t.Context(), Removal{Force: true}); err != nil {
		t.Fatal(err)
	}
	list, err := kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(t.Context(), meta.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "heddle-injector" {
		t.Errorf("webhooks left: %v (%v)", list.Items, err)
	}
	leases, err := kube.CoordinationV1().Leases(wire.SystemNamespace).List(t.Context(), meta.ListOptions{})
	if err != nil || len(leases.Items) != 1 || leases.Items[0].Name != "heddle-leader" {
		t.Errorf("leases left: %v (%v)", leases.Items, err)
	}
	if left("heddle-canary") != nil || left(Release) == nil {
		t.Errorf("releases left: canary %v, default %v", left("heddle-canary"), left(Release))
	}
}

func TestUninstallRefusesWhileThereAreRevisions(t *testing.T) {
	i, _, _, _ := installer(two())
	if _, err := i.inUse(t.Context(), false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "revisions beside the default one need it (canary)") {
		t.Errorf("got %v", err)
	}
}

func TestProbingARevision(t *testing.T) {
	for why, c := range map[string]struct{ by, want string }{
		"its own proxy": {`{"revision":"canary"}`, ""},
		"another's":     {`{}`, "got the proxy of another revision than canary"},
	} {
		i, kube, _, _ := installer(two(labelledFor("shop", "canary")))
		var asked []string
		kube.PrependReactor("create", "pods", func(a clienttest.Action) (bool, runtime.Object, error) {
			made := a.(clienttest.CreateAction).GetObject().(*core.Pod).DeepCopy()
			asked = append(asked, a.GetNamespace()+"/"+made.Labels[wire.RevisionLabel])
			made.Spec.InitContainers = []core.Container{{Name: wire.ProxyContainer}}
			made.Annotations = map[string]string{wire.StatusAnnotation: c.by}
			return true, made, nil
		})
		err := i.Of("canary").Probe(t.Context())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) || asked[0] != "shop/canary" {
			t.Errorf("%s: got %v in %v, want %q", why, err, asked, c.want)
		}
	}
}
