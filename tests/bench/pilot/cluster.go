package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/heddle-mesh/heddle/api/wire"
)

// writers is how many objects are written at once.
const writers = 16

// cluster writes a mesh's objects.
type cluster struct {
	mesh
	kube kubernetes.Interface
	free dynamic.Interface // of any kind
	// addresses of the services that are there from the start.
	addresses []string
}

func connect(config *rest.Config, m mesh) (*cluster, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	free, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &cluster{mesh: m, kube: kube, free: free, addresses: make([]string, m.services)}, nil
}

// each calls write for 0 to n-1, several at once, and returns the first error.
func each(n int, write func(int) error) error {
	next := make(chan int)
	failed := make(chan error, writers)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range next {
				if err := write(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
feeding:
	for i := range n {
		select {
		case next <- i:
		case err = <-failed:
			break feeding
		}
	}
	close(next)
	wg.Wait()
	select {
	case err = <-failed:
	default:
	}
	return err
}

// fill writes everything that is there from the start. top is the source tree, where the definitions are.
func (c *cluster) fill(ctx context.Context, top string) error {
	if err := c.define(ctx, top); err != nil {
		return err
	}
	var create metav1.CreateOptions
	steps := []struct {
		n     int
		write func(int) error
	}{
		{1, func(int) error { return c.makeNamespace(ctx, wire.SystemNamespace) }},
		{1, func(int) error { return c.makeNamespace(ctx, istioNamespace) }},
		{c.namespaces, func(i int) error { return c.makeNamespace(ctx, c.namespace(i)) }},
		{nodes, func(i int) error {
			_, err := c.kube.CoreV1().Nodes().Create(ctx, node(i), create)
			return err
		}},
		{c.services, func(i int) error { return c.makeService(ctx, i) }},
		{c.proxies, func(j int) error { return c.makePod(ctx, j) }},
	}
	for _, s := range steps {
		if err := each(s.n, s.write); err != nil {
			return fmt.Errorf("writing the mesh: %w", err)
		}
	}
	return nil
}

// importFew writes the Sidecars of a scoped audience; the function returned takes them away.
func (c *cluster) importFew(ctx context.Context) (undo func() error, err error) {
	if !c.scoped {
		return func() error { return nil }, nil
	}
	undo = func() error {
		return each(c.namespaces, func(i int) error {
			o := c.sidecar(c.namespace(i))
			return c.free.Resource(istioKind("sidecars")).Namespace(o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{})
		})
	}
	return undo, each(c.namespaces, func(i int) error { return c.create(ctx, "sidecars", c.sidecar(c.namespace(i))) })
}

func istioKind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: resource}
}

func (c *cluster) makeNamespace(ctx context.Context, name string) error {
	_, err := c.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}

// makeService writes a service and its endpoints.
func (c *cluster) makeService(ctx context.Context, i int) error {
	s := c.service(i)
	made, err := c.kube.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if i < len(c.addresses) {
		c.addresses[i] = made.Spec.ClusterIP
	}
	_, err = c.kube.DiscoveryV1().EndpointSlices(s.Namespace).Create(ctx, c.slice(i), metav1.CreateOptions{})
	return err
}

// makePod writes a pod and that it runs.
func (c *cluster) makePod(ctx context.Context, j int) error {
	p := c.pod(j)
	made, err := c.kube.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Status = running(j)
	_, err = c.kube.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{})
	return err
}

func (c *cluster) create(ctx context.Context, resource string, o *unstructured.Unstructured) error {
	_, err := c.free.Resource(istioKind(resource)).Namespace(o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{})
	return err
}

// define writes the custom resource definitions and waits until they are served.
func (c *cluster) define(ctx context.Context, top string) error {
	files, err := filepath.Glob(filepath.Join(top, "manifests/crds/generated/*.json"))
	if err != nil || len(files) == 0 {
		return errors.Join(errors.New(`no custom resource definitions: run "go run ./manifests/crds/gen"`), err)
	}
	definitions := c.free.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading definitions: %w", err)
		}
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal(text, o); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		if _, err := definitions.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("defining %s: %w", o.GetName(), err)
		}
		names = append(names, o.GetName())
	}
	for _, name := range names {
		for !established(ctx, definitions, name) {
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return fmt.Errorf("waiting for %s: %w", name, err)
			}
		}
	}
	return nil
}

func established(ctx context.Context, definitions dynamic.ResourceInterface, name string) bool {
	o, err := definitions.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, one := range conditions {
		if m, ok := one.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
