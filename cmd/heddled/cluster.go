package main

import (
	"context"
	"fmt"
	"net/http"

	admission "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/pilot/source"
)

// Requests per second to the API server, and how many at once: TokenReviews of a restarting mesh come in bursts.
const (
	apiQPS   = 100
	apiBurst = 200
)

// The webhook configurations of the control-plane chart; the second is the default revision's alone.
const (
	injectorConfiguration  = "heddle-injector"
	validatorConfiguration = "heddle-validator"
)

// cluster is what heddled knows the API server by: a client that asks, one that watches what the one cache does not hold, one that writes objects of any kind,
// and the cache.
type cluster struct {
	kube    kubernetes.Interface
	watches kubernetes.Interface
	writer  client.Client
	cache   cache.Cache
}

func connect(kubeconfig, of string) (*cluster, error) {
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
	byObject, err := known(cachedObjects(of), c.writer.RESTMapper())
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return reaching{next} })
	if c.watches, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	shared := true
	c.cache, err = cache.New(config, cache.Options{
		Scheme:                       clientscheme.Scheme,
		Mapper:                       c.writer.RESTMapper(),
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

// known leaves out the kinds that the cluster does not have and that are only watched so that their use can be reported: of these
// only metadata is read. The others must be there.
func known(all map[client.Object]cache.ByObject, mapper meta.RESTMapper) (map[client.Object]cache.ByObject, error) {
	for object := range all {
		kind, err := apiutil.GVKForObject(object, clientscheme.Scheme)
		if err != nil {
			return nil, fmt.Errorf("naming the kind of a cached object: %w", err)
		}
		_, err = mapper.RESTMapping(kind.GroupKind(), kind.Version)
		_, reportOnly := object.(*metav1.PartialObjectMetadata)
		switch {
		case meta.IsNoMatchError(err) && reportOnly:
			delete(all, object)
		case err != nil:
			return nil, fmt.Errorf("looking for kind %s: %w", kind, err)
		}
	}
	return all, nil
}

// cachedObjects are the kinds in the cache: what pilot reads, without what nobody reads of it, and the own objects of heddled's revision.
func cachedObjects(of string) map[client.Object]cache.ByObject {
	all := source.ByObject()
	all[&admission.MutatingWebhookConfiguration{}] = named(revision.Name(injectorConfiguration, of))
	if revision.IsDefault(of) {
		all[&core.ConfigMap{}] = named(wire.RootConfigMap)
		validator := named(validatorConfiguration)
		validator.Transform = func(o any) (any, error) { return o, nil } // with who manages which field, of which one is given back
		all[&admission.ValidatingWebhookConfiguration{}] = validator
	}
	return all
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
	return c.kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}
