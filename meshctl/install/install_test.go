package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	chartcommon "helm.sh/helm/v4/pkg/chart/common"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	fakeextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/fake"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttest "k8s.io/client-go/testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
)

// installer returns one for a fake cluster, and what it tells people.
func installer(objects []runtime.Object, crds ...runtime.Object) (*Installer, *fake.Clientset, *fakeextensions.Clientset, *bytes.Buffer) {
	kube, ext, out := fake.NewClientset(objects...), fakeextensions.NewClientset(crds...), &bytes.Buffer{}
	i := New(&cluster.Cluster{Kube: kube, Extensions: ext}, Options{Version: "v2", Timeout: 5 * time.Second, Out: out})
	i.helm = helmOf()
	return i, kube, ext, out
}

// helmOf is Helm in a cluster with these releases.
func helmOf(releases ...*release.Release) func(string) (*action.Configuration, error) {
	return func(namespace string) (*action.Configuration, error) {
		config, memory := action.NewConfiguration(), driver.NewMemory()
		config.Releases, config.KubeClient = storage.Init(memory), &kubefake.PrintingKubeClient{Out: io.Discard}
		for _, r := range releases {
			if err := config.Releases.Create(r); err != nil {
				return nil, err
			}
		}
		memory.SetNamespace(namespace)
		return config, nil
	}
}

// recorded is a release as Helm records it.
func recorded(t *testing.T, chartName, namespace, name, version string, values map[string]any) *release.Release {
	t.Helper()
	c, err := manifests.Chart(chartName, version)
	if err != nil {
		t.Fatal(err)
	}
	return &release.Release{Name: name, Namespace: namespace, Version: 1, Chart: c, Config: values, Info: &release.Info{Status: common.StatusDeployed}}
}

func pod(namespace, name string, labels, annotations map[string]string) *core.Pod {
	return &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name, Labels: labels, Annotations: annotations}}
}

func TestUninstallRefusesWhilePodsRunAProxy(t *testing.T) {
	injected := pod("shop", "catalog", nil, map[string]string{wire.StatusAnnotation: "{}"})
	gateway := pod("edge", "internet-1", map[string]string{gatewayLabel: "internet"}, nil)
	done := pod("shop", "job", nil, map[string]string{wire.StatusAnnotation: "{}"})
	done.Status.Phase = core.PodSucceeded
	i, _, _, _ := installer([]runtime.Object{injected, gateway, done, pod("plain", "other", nil, nil)})
	i.helm = helmOf(recorded(t, manifests.Gateway, "edge", "internet", "v1", nil), recorded(t, manifests.ControlPlane, wire.SystemNamespace, Release, "v1", nil))
	_, err := i.inUse(t.Context(), false)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "2 pods") || !strings.Contains(err.Error(), "shop/catalog") {
		t.Errorf("got %v", err)
	}
	gateways, err := i.inUse(t.Context(), true)
	if err != nil || len(gateways) != 1 || gateways[0] != (releaseName{name: "internet", namespace: "edge"}) {
		t.Errorf("forced: got %v, %v", gateways, err)
	}
	i, _, _, _ = installer([]runtime.Object{done})
	if _, err := i.inUse(t.Context(), false); err != nil {
		t.Errorf("a Job that has ended: %v", err)
	}
}

// A gateway that is scaled to nothing, or cannot start, is still installed.
func TestUninstallSeesGatewaysWithoutPods(t *testing.T) {
	i, _, _, _ := installer(nil)
	i.helm = helmOf(recorded(t, manifests.Gateway, "edge", "internet", "v1", nil), recorded(t, manifests.Gateway, "inside", "intranet", "v1", nil))
	if _, err := i.inUse(t.Context(), false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "edge/internet, inside/intranet") {
		t.Errorf("got %v", err)
	}
	if gateways, err := i.inUse(t.Context(), true); err != nil || len(gateways) != 2 {
		t.Errorf("forced: got %v, %v", gateways, err)
	}
}

func TestAGatewayFollowsTheControlPlane(t *testing.T) {
	for why, c := range map[string]struct {
		plane []*release.Release
		want  map[string]any // by path
	}{
		"its values": {[]*release.Release{recorded(t, manifests.ControlPlane, wire.SystemNamespace, Release, "v1", map[string]any{
			"image":       map[string]any{"registry": "r", "tag": "t", "pullPolicy": "Never"},
			"trustDomain": "example.org", "clusterDomain": "k8s.example.org", "clusterID": "east", "tokenAudience": "mesh", "certTTL": "12h",
			"imagePullSecrets": []any{map[string]any{"name": "key"}}, "replicas": 5,
		})}, map[string]any{"image.registry": "r", "image.tag": "t", "image.pullPolicy": "Never", "trustDomain": "example.org", "clusterDomain": "k8s.example.org",
			"clusterID": "east", "tokenAudience": "mesh", "certTTL": "12h", "imagePullSecrets": []any{map[string]any{"name": "key"}}, "replicas": float64(1)}},
		"its chart's version": {[]*release.Release{recorded(t, manifests.ControlPlane, wire.SystemNamespace, Release, "v1",
			map[string]any{"image": map[string]any{"registry": "r"}})}, map[string]any{"image.registry": "r", "image.tag": "v1", "image.pullPolicy": "IfNotPresent"}},
		"no control plane": {nil, map[string]any{"image.registry": "ghcr.io/heddle-mesh", "image.tag": "", "image.pullPolicy": "IfNotPresent", "trustDomain": "cluster.local"}},
	} {
		i, _, _, _ := installer(nil)
		i.helm = helmOf(c.plane...)
		gateway, err := manifests.Chart(manifests.Gateway, "v2")
		if err != nil {
			t.Fatal(err)
		}
		if err := i.follow(gateway, Release, followed()); err != nil {
			t.Fatal(err)
		}
		for path, want := range c.want {
			got, err := chartcommon.Values(gateway.Values).PathValue(path)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %s: %v %s", why, path, err, diff)
			}
		}
	}
}

func TestInstallRefusesOverProxiesOfALostRoot(t *testing.T) {
	orphan := pod("shop", "catalog", nil, map[string]string{wire.StatusAnnotation: "{}"})
	orphan.Status.Phase = core.PodRunning
	i, _, _, _ := installer([]runtime.Object{orphan})
	if err := i.foreignProxies(t.Context()); !errors.Is(err, authority.ErrForeignProxies) || !strings.Contains(err.Error(), "shop/catalog") {
		t.Errorf("got %v", err)
	}
	root := &core.Secret{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: wire.RootSecret}}
	i, _, _, _ = installer([]runtime.Object{orphan, root})
	if err := i.foreignProxies(t.Context()); err != nil {
		t.Errorf("with the root restored: %v", err)
	}
}

// stripped is one of our definitions as another installer has it: without our stamp, without a field.
func stripped(t *testing.T) *extensions.CustomResourceDefinition {
	t.Helper()
	crds, err := manifests.CRDs("v1")
	if err != nil {
		t.Fatal(err)
	}
	crd := crds[0].DeepCopy()
	crd.Labels = nil
	for n := range crd.Spec.Versions {
		delete(crd.Spec.Versions[n].Schema.OpenAPIV3Schema.Properties, "spec")
	}
	return crd
}

func TestForeignDefinitionsAreComparedAndLeftAlone(t *testing.T) {
	foreign := stripped(t)
	i, _, ext, out := installer(nil, foreign)
	applied := map[string]bool{}
	ext.PrependReactor("patch", "customresourcedefinitions", func(action clienttest.Action) (bool, runtime.Object, error) {
		applied[action.(clienttest.PatchAction).GetName()] = true
		return true, &extensions.CustomResourceDefinition{}, nil
	})
	if err := i.definitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	crds, _ := manifests.CRDs("v2")
	if applied[foreign.Name] || len(applied) != len(crds)-1 {
		t.Errorf("%d definitions applied, the foreign one: %v", len(applied), applied[foreign.Name])
	}
	if want := foreign.Name + " is not Heddle's and stays as it is; it lacks v1"; !strings.Contains(out.String(), want) {
		t.Errorf("said %q, want %q", out, want)
	}
}

func TestPurgeDeletesOurDefinitionsOneByOne(t *testing.T) {
	crds, err := manifests.CRDs("v1")
	if err != nil {
		t.Fatal(err)
	}
	foreign := stripped(t)
	i, _, ext, _ := installer(nil, foreign, crds[1], crds[2])
	ext.PrependReactor("delete-collection", "customresourcedefinitions", func(clienttest.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("the objects would be left in the store")
	})
	if err := i.purgeDefinitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := ext.ApiextensionsV1().CustomResourceDefinitions().List(t.Context(), meta.ListOptions{})
	if err != nil || len(left.Items) != 1 || left.Items[0].Name != foreign.Name {
		t.Errorf("left %d (%v)", len(left.Items), err)
	}
}

func TestRemoveNamespaceKeepsTheRootUnlessPurged(t *testing.T) {
	ours := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: wire.SystemNamespace, Labels: map[string]string{createdLabel: "meshctl"}}}
	theirs := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: wire.SystemNamespace}}
	root := &core.Secret{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: wire.RootSecret}}
	for why, c := range map[string]struct {
		objects           []runtime.Object
		purge             bool
		namespace, secret bool // are there afterwards
	}{
		"the root stays":                         {[]runtime.Object{ours, root}, false, true, true},
		"purged":                                 {[]runtime.Object{ours, root}, true, false, false},
		"purged from a namespace that was there": {[]runtime.Object{theirs, root}, true, true, false},
		"no root was ever made":                  {[]runtime.Object{ours}, false, false, false},
	} {
		t.Run(why, func(t *testing.T) {
			i, kube, _, _ := installer(c.objects)
			if err := i.removeNamespace(t.Context(), c.purge); err != nil {
				t.Fatal(err)
			}
			_, err := kube.CoreV1().Namespaces().Get(t.Context(), wire.SystemNamespace, meta.GetOptions{})
			if (err == nil) != c.namespace {
				t.Errorf("namespace: %v", err)
			}
			_, err = kube.CoreV1().Secrets(wire.SystemNamespace).Get(t.Context(), wire.RootSecret, meta.GetOptions{})
			if (err == nil) != c.secret {
				t.Errorf("secret: %v", err)
			}
		})
	}
}

func TestLeftoversGo(t *testing.T) {
	ours := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: wire.RootConfigMap}}
	theirs := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "settings"}}
	told := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: wire.DistributionConfigMap}}
	i, kube, _, _ := installer([]runtime.Object{ours, theirs, told})
	if err := i.removeLeftovers(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := kube.CoreV1().ConfigMaps(meta.NamespaceAll).List(t.Context(), meta.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "settings" {
		t.Errorf("left %v (%v)", list.Items, err)
	}
}

func TestProbeSaysWhatIsWrong(t *testing.T) {
	labelled := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: "shop", Labels: map[string]string{wire.InjectionLabel: "enabled"}}}
	strict := labelled.DeepCopy()
	strict.Labels["pod-security.kubernetes.io/enforce"] = "baseline"
	for why, c := range map[string]struct {
		namespace *core.Namespace
		answer    error
		want      string
		asked     string
	}{
		"no webhook":            {labelled, nil, "a pod in namespace shop got no proxy", "shop"},
		"not to be reached":     {labelled, errors.New(`failed calling webhook "x": Post "https://...": dial tcp 10.0.0.1:15017: connect: connection refused`), "connect to port 15017", "shop"},
		"the webhook fails":     {labelled, errors.New(`failed calling webhook "x": 500`), "the webhook fails", "shop"},
		"the namespace forbids": {labelled, forbidden(`violates PodSecurity "baseline"`), "enforces forbids it", "default"},
		"another is asked":      {strict, nil, "a pod in namespace default", "default"},
	} {
		t.Run(why, func(t *testing.T) {
			i, kube, _, _ := installer([]runtime.Object{c.namespace})
			asked := ""
			kube.PrependReactor("create", "pods", func(action clienttest.Action) (bool, runtime.Object, error) {
				asked = action.GetNamespace()
				if dry := action.(clienttest.CreateActionImpl).CreateOptions.DryRun; len(dry) != 1 {
					return true, nil, fmt.Errorf("a real pod was made")
				}
				return true, action.(clienttest.CreateAction).GetObject(), c.answer
			})
			err := i.Probe(t.Context())
			if !errors.Is(err, ErrInjection) || !strings.Contains(err.Error(), c.want) || asked != c.asked {
				t.Errorf("got %v in %s, want %q in %s", err, asked, c.want, c.asked)
			}
		})
	}
}

// forbidden is how admission in one namespace, or authorization, says no.
func forbidden(why string) error {
	return apierrors.NewForbidden(core.Resource("pods"), "heddle-dry-run-", errors.New(why))
}

// What a namespace forbids says nothing of injection: another is asked, and where quotas leave no room at all, the installation is over.
func TestProbeInNamespacesThatForbid(t *testing.T) {
	full, ranged := forbidden("exceeded quota: pods, requested: pods=1, used: pods=3, limited: pods=3"), forbidden("maximum memory usage per Container is 64Mi")
	rights := errors.New(`User "eve" cannot create resource "pods"`)
	for why, c := range map[string]struct {
		answers map[string]error // by namespace; others inject
		want    error
		says    string // of the whole installation
	}{
		"one is full":                 {map[string]error{"a": full}, nil, "a dry run of a pod was injected"},
		"one limits the proxy":        {map[string]error{"a": ranged, "b": full}, nil, "a dry run of a pod was injected"},
		"all are full":                {map[string]error{"a": full, "b": full, "default": full}, ErrQuota, "cannot be tried: quotas leave no room for one: namespace "},
		"all are, or forbid for good": {map[string]error{"a": full, "b": forbidden(rights.Error()), "default": full}, rights, ""},
	} {
		t.Run(why, func(t *testing.T) {
			namespaces := []runtime.Object{}
			for _, name := range []string{"a", "b", "default"} {
				namespaces = append(namespaces, &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{wire.InjectionLabel: "enabled"}}})
			}
			i, kube, _, out := installer(namespaces)
			kube.PrependReactor("create", "pods", func(action clienttest.Action) (bool, runtime.Object, error) {
				made := action.(clienttest.CreateAction).GetObject().(*core.Pod).DeepCopy()
				made.Spec.InitContainers = []core.Container{{Name: wire.ProxyContainer}}
				return true, made, c.answers[action.GetNamespace()]
			})
			if err := i.Probe(t.Context()); !like(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			err := i.injectionWorks(t.Context())
			if (err == nil) != (c.says != "") || !strings.Contains(out.String(), c.says) {
				t.Errorf("installing: %v, said %q, want %q", err, out, c.says)
			}
		})
	}
}

// like compares by identity, and by words where an API server's answer is between.
func like(got, want error) bool {
	if got == nil || want == nil {
		return got == want
	}
	return errors.Is(got, want) || strings.Contains(got.Error(), want.Error())
}

func TestRolloutIsOverWhenEveryPodIsNewAndReady(t *testing.T) {
	two := int32(2)
	d := &apps.Deployment{ObjectMeta: meta.ObjectMeta{Namespace: "n", Name: "d", Generation: 2}, Spec: apps.DeploymentSpec{Replicas: &two}}
	for why, c := range map[string]struct {
		status apps.DeploymentStatus
		want   string
	}{
		"nobody has looked":       {apps.DeploymentStatus{ObservedGeneration: 1, UpdatedReplicas: 2, AvailableReplicas: 2, Replicas: 2}, "deployment n/d: 2 of 2 pods ready"},
		"one is not available":    {apps.DeploymentStatus{ObservedGeneration: 2, UpdatedReplicas: 2, AvailableReplicas: 1, Replicas: 2}, "deployment n/d: 1 of 2 pods ready"},
		"an old one is there yet": {apps.DeploymentStatus{ObservedGeneration: 2, UpdatedReplicas: 2, AvailableReplicas: 3, Replicas: 3}, "deployment n/d: 2 of 2 pods ready"},
		"it is over":              {apps.DeploymentStatus{ObservedGeneration: 2, UpdatedReplicas: 2, AvailableReplicas: 2, Replicas: 2}, ""},
	} {
		d.Status = c.status
		if got := rollout(d); got != c.want {
			t.Errorf("%s: got %q, want %q", why, got, c.want)
		}
	}
}

func TestWaitSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		err := newProgress(&out).wait(ctx, "done", func(context.Context) (string, error) { return "a pod", nil })
		if err == nil || !strings.Contains(err.Error(), "waiting for a pod") {
			t.Errorf("got %v", err)
		}
		if n := strings.Count(out.String(), "waiting for a pod"); n != 3 {
			t.Errorf("said it %d times in 25 s, want at the start and every 10 s:\n%s", n, out.String())
		}
	})
}
