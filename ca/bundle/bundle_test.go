package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/bundle"
)

const root = "-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n"

// fakeCache reads straight from the fake API server and watches it with real informers.
type fakeCache struct{ client.WithWatch }

func (c fakeCache) GetInformer(ctx context.Context, obj client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	list := map[string]client.ObjectList{
		"*v1.Namespace": &corev1.NamespaceList{}, "*v1.ConfigMap": &corev1.ConfigMapList{},
		"*v1.MutatingWebhookConfiguration": &admissionv1.MutatingWebhookConfigurationList{}, "*v1.ValidatingWebhookConfiguration": &admissionv1.ValidatingWebhookConfigurationList{},
	}[typeName(obj)]
	informer := toolscache.NewSharedIndexInformer(toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			out := list.DeepCopyObject().(client.ObjectList)
			return out, c.List(ctx, out)
		},
		WatchFuncWithContext: func(ctx context.Context, _ metav1.ListOptions) (watch.Interface, error) { return c.Watch(ctx, list) },
	}, noWatchList{}), obj, 0, toolscache.Indexers{})
	go informer.Run(ctx.Done())
	return informer, nil
}

// noWatchList says that the fake API server cannot stream lists.
type noWatchList struct{}

func (noWatchList) IsWatchListSemanticsUnSupported() bool { return true }

func typeName(obj client.Object) string {
	switch obj.(type) {
	case *corev1.Namespace:
		return "*v1.Namespace"
	case *corev1.ConfigMap:
		return "*v1.ConfigMap"
	case *admissionv1.MutatingWebhookConfiguration:
		return "*v1.MutatingWebhookConfiguration"
	default:
		return "*v1.ValidatingWebhookConfiguration"
	}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func mutating(name, app string) *admissionv1.MutatingWebhookConfiguration {
	return &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Webhooks: []admissionv1.MutatingWebhook{{Name: "a.heddle.io"}, {Name: "b.heddle.io"}}}
}

func validating(name, app string) *admissionv1.ValidatingWebhookConfiguration {
	return &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Webhooks: []admissionv1.ValidatingWebhook{{Name: "v.heddle.io"}}}
}

// start runs a Publisher over api; the returned function ends it and waits.
func start(t *testing.T, api client.WithWatch, options ...func(*bundle.Config)) (stop func()) {
	t.Helper()
	c := bundle.Config{Cache: fakeCache{api}, Writer: api, Bundle: func() []byte { return []byte(root) }, Log: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		option(&c)
	}
	p := bundle.New(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	var once atomic.Bool
	stop = func() {
		if cancel(); once.Swap(true) {
			return
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func published(t *testing.T, api client.Reader, namespace string) bool {
	t.Helper()
	var m corev1.ConfigMap
	err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: wire.RootConfigMap}, &m)
	return err == nil && len(m.Data) == 1 && m.Data[wire.RootConfigMapKey] == root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryNamespaceHasTheRoot(t *testing.T) {
	api := fake.NewClientBuilder().WithObjects(namespace("default"), namespace("kube-system")).Build()
	start(t, api)
	eventually(t, "in namespaces that were there", func() bool { return published(t, api, "default") && published(t, api, "kube-system") })
	must(t, api.Create(t.Context(), namespace("late")))
	eventually(t, "in a new namespace", func() bool { return published(t, api, "late") })
}

func TestWhatOthersChangeIsRestored(t *testing.T) {
	api := fake.NewClientBuilder().WithObjects(namespace("shop")).Build()
	start(t, api)
	eventually(t, "at first", func() bool { return published(t, api, "shop") })
	key := client.ObjectKey{Namespace: "shop", Name: wire.RootConfigMap}
	for what, change := range map[string]func(*corev1.ConfigMap) error{
		"after an edit": func(m *corev1.ConfigMap) error {
			m.Data[wire.RootConfigMapKey] = "evil"
			return api.Update(t.Context(), m)
		},
		"after a new key":  func(m *corev1.ConfigMap) error { m.Data["more"] = "x"; return api.Update(t.Context(), m) },
		"after a deletion": func(m *corev1.ConfigMap) error { return api.Delete(t.Context(), m) },
	} {
		var m corev1.ConfigMap
		must(t, api.Get(t.Context(), key, &m))
		must(t, change(&m))
		eventually(t, what, func() bool { return published(t, api, "shop") })
	}
}

func TestTerminatingNamespacesAreLeftAlone(t *testing.T) {
	going := namespace("going")
	going.Status.Phase = corev1.NamespaceTerminating
	api := fake.NewClientBuilder().WithObjects(going, namespace("staying")).Build()
	start(t, api)
	eventually(t, "elsewhere", func() bool { return published(t, api, "staying") })
	if published(t, api, "going") {
		t.Error("written into a namespace that is going away")
	}
}

func TestWebhooksGetTheBundle(t *testing.T) {
	api := fake.NewClientBuilder().WithObjects(mutating("heddle", "heddled"), validating("heddle", "heddled"), mutating("other", "cert-manager")).Build()
	start(t, api)
	bundled := func() bool {
		var m admissionv1.MutatingWebhookConfiguration
		var v admissionv1.ValidatingWebhookConfiguration
		must(t, api.Get(t.Context(), client.ObjectKey{Name: "heddle"}, &m))
		must(t, api.Get(t.Context(), client.ObjectKey{Name: "heddle"}, &v))
		return string(m.Webhooks[0].ClientConfig.CABundle) == root && string(m.Webhooks[1].ClientConfig.CABundle) == root &&
			bytes.Equal(v.Webhooks[0].ClientConfig.CABundle, []byte(root))
	}
	eventually(t, "in our webhooks", bundled)
	var m admissionv1.MutatingWebhookConfiguration
	must(t, api.Get(t.Context(), client.ObjectKey{Name: "heddle"}, &m))
	m.Webhooks[1].ClientConfig.CABundle = nil // as an upgrade of the chart does
	must(t, api.Update(t.Context(), &m))
	eventually(t, "again", bundled)
	must(t, api.Get(t.Context(), client.ObjectKey{Name: "other"}, &m))
	if m.Webhooks[0].ClientConfig.CABundle != nil {
		t.Error("another's webhook was changed")
	}
}

// TestAWebhookIsClosedOnceItRefuses holds that the one that is meant, and no other, is closed once it was seen to refuse, again where somebody opens it, and never opened.
func TestAWebhookIsClosedOnceItRefuses(t *testing.T) {
	open, config := admissionv1.Ignore, validating("heddle", "heddled")
	config.Webhooks = append(config.Webhooks, admissionv1.ValidatingWebhook{Name: "ingress.v.heddle.io", FailurePolicy: &open})
	config.Webhooks[0].FailurePolicy = &open
	other := validating("other", "cert-manager")
	other.Webhooks[0].FailurePolicy = &open
	api := fake.NewClientBuilder().WithObjects(config, other).WithReturnManagedFields().Build()
	var refuses atomic.Bool
	var asked atomic.Int32
	start(t, api, func(c *bundle.Config) {
		c.Closing = &bundle.Closing{Webhook: "v.heddle.io", Refuses: func(ctx context.Context) (bool, error) {
			var v admissionv1.ValidatingWebhookConfiguration
			if err := api.Get(ctx, client.ObjectKey{Name: "heddle"}, &v); err != nil || string(v.Webhooks[0].ClientConfig.CABundle) != root {
				t.Errorf("asked before the API server can ask (%v)", err)
			}
			if asked.Add(1) == 1 {
				return false, errors.New("the API server is busy")
			}
			return refuses.Load(), nil
		}}
	})
	policies := func(name string) (out []admissionv1.FailurePolicyType) {
		var v admissionv1.ValidatingWebhookConfiguration
		must(t, api.Get(t.Context(), client.ObjectKey{Name: name}, &v))
		for _, w := range v.Webhooks {
			out = append(out, *w.FailurePolicy)
		}
		return out
	}
	closed := func() bool {
		return slices.Equal(policies("heddle"), []admissionv1.FailurePolicyType{admissionv1.Fail, open})
	}
	eventually(t, "it is asked again and again", func() bool { return asked.Load() > 2 })
	if got := policies("heddle"); got[0] != open {
		t.Errorf("closed while it refuses nothing: %v", got)
	}
	refuses.Store(true)
	eventually(t, "it is closed", closed)
	refuses.Store(false)
	var v admissionv1.ValidatingWebhookConfiguration
	change := func(how func()) {
		must(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			must(t, api.Get(t.Context(), client.ObjectKey{Name: "heddle"}, &v))
			how()
			return api.Update(t.Context(), &v)
		}))
	}
	change(func() { v.Labels["touched"] = "yes" })
	time.Sleep(50 * time.Millisecond)
	if !closed() || policies("other")[0] != open {
		t.Errorf("%v, another's %v", policies("heddle"), policies("other"))
	}
	change(func() { v.Webhooks[0].FailurePolicy = &open }) // as an upgrade of the chart does
	refuses.Store(true)
	eventually(t, "it is closed again", closed)
	eventually(t, "whoever closed it is no owner, in the way of others", func() bool {
		must(t, api.Get(t.Context(), client.ObjectKey{Name: "heddle"}, &v))
		return len(v.ManagedFields) > 0 && !slices.ContainsFunc(v.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == "heddled-closing" })
	})
}

// A revision that is not the default one writes into its own webhooks and nowhere else.
func TestARevisionWritesIntoItsOwnWebhooks(t *testing.T) {
	api := fake.NewClientBuilder().WithObjects(mutating("default", "heddled"), mutating("canary", "heddled-canary"), validating("default", "heddled"), namespace("shop")).Build()
	stop := start(t, api, func(c *bundle.Config) { c.App, c.WebhooksOnly = "heddled-canary", true })
	var m admissionv1.MutatingWebhookConfiguration
	eventually(t, "in the revision's webhooks", func() bool {
		must(t, api.Get(t.Context(), client.ObjectKey{Name: "canary"}, &m))
		return string(m.Webhooks[0].ClientConfig.CABundle) == root
	})
	stop()
	var v admissionv1.ValidatingWebhookConfiguration
	must(t, api.Get(t.Context(), client.ObjectKey{Name: "default"}, &m))
	must(t, api.Get(t.Context(), client.ObjectKey{Name: "default"}, &v))
	if m.Webhooks[0].ClientConfig.CABundle != nil || v.Webhooks[0].ClientConfig.CABundle != nil || published(t, api, "shop") {
		t.Error("what is the default revision's was written")
	}
}

func TestFailedWritesAreTriedAgain(t *testing.T) {
	var left atomic.Int32
	left.Store(2)
	api := fake.NewClientBuilder().WithObjects(namespace("shop")).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if left.Add(-1) >= 0 {
				return errors.New("etcd is busy")
			}
			return c.Create(ctx, o, opts...)
		},
	}).Build()
	start(t, api)
	eventually(t, "after two failures", func() bool { return published(t, api, "shop") })
}

func TestWhoDoesNotLeadDoesNotWrite(t *testing.T) {
	api := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(namespace("shop")).Build()
	stop := start(t, api)
	eventually(t, "while leading", func() bool { return published(t, api, "shop") })
	stop()
	must(t, api.Create(t.Context(), namespace("later")))
	time.Sleep(50 * time.Millisecond)
	var m corev1.ConfigMap
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: "later", Name: wire.RootConfigMap}, &m); !apierrors.IsNotFound(err) {
		t.Errorf("written after the lease was lost (%v)", err)
	}
}
