package main

import (
	"context"
	"fmt"

	admission "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
)

// Requests per second to the API server, and how many at once: TokenReviews of a restarting mesh come in bursts.
const (
	apiQPS   = 100
	apiBurst = 200
)

// The webhook configurations of the control-plane chart.
const (
	injectorConfiguration  = "heddle-injector"
	validatorConfiguration = "heddle-validator"
)

// cluster is what heddled knows the API server by: a client that asks, one that writes objects of any kind, and the one cache.
type cluster struct {
	kube   kubernetes.Interface
	writer client.Client
	cache  cache.Cache
}

func connect(kubeconfig string, byObject map[client.Object]cache.ByObject) (*cluster, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = apiQPS, apiBurst
	c := &cluster{}
	if c.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	if c.writer, err = client.New(config, client.Options{Scheme: clientscheme.Scheme}); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	shared := true
	c.cache, err = cache.New(config, cache.Options{
		Scheme:                       clientscheme.Scheme,
		DefaultTransform:             cache.TransformStripManagedFields(),
		DefaultUnsafeDisableDeepCopy: &shared, // readers change nothing: one object for all
		ByObject:                     byObject,
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	return c, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("reading the pod's account: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// named narrows the cache to the objects that heddled may read, which are granted by name.
func named(name string) cache.ByObject {
	return cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", name)}
}

// ownObjects are the cached kinds of which heddled reads its own objects only.
func ownObjects() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&core.ConfigMap{}:                           named(wire.RootConfigMap),
		&admission.MutatingWebhookConfiguration{}:   named(injectorConfiguration),
		&admission.ValidatingWebhookConfiguration{}: named(validatorConfiguration),
	}
}

// component runs the cache. What starts after it finds the cache started; informers sync when they are first asked for.
func (c *cluster) component() lifecycle.Component {
	return lifecycle.Component{Name: "cache", Run: c.cache.Start}
}

// cachedPod finds a pod in the cache.
func (c *cluster) cachedPod(ctx context.Context, namespace, name string) (*core.Pod, error) {
	pod := &core.Pod{}
	if err := c.cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod); err != nil {
		return nil, err
	}
	return pod, nil
}

// livePod asks the API server for a pod.
func (c *cluster) livePod(ctx context.Context, namespace, name string) (*core.Pod, error) {
	return c.kube.CoreV1().Pods(namespace).Get(ctx, name, meta.GetOptions{})
}
