package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/tour"
)

const items = "http://catalog.shop:8080/items"

// lodger is a Deployment of a client, with a proxy that is a native sidecar or an ordinary container.
const lodger = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: shop}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}, annotations: {sidecar.heddle.io/nativeSidecar: "%[2]v"}}
    spec:
      serviceAccountName: client
      terminationGracePeriodSeconds: 3
      containers: [{name: client, image: "heddle.local/shop:demo", imagePullPolicy: IfNotPresent, args: [sleep]}]
`

// errand is a Job of the same kind.
const errand = `
apiVersion: batch/v1
kind: Job
metadata: {name: %[1]s, namespace: shop}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: %[1]s}, annotations: {sidecar.heddle.io/nativeSidecar: "%[2]v"}}
    spec:
      restartPolicy: Never
      serviceAccountName: client
      containers: [{name: client, image: "heddle.local/shop:demo", imagePullPolicy: IfNotPresent, args: [client, "-n", "3", "http://catalog.shop:8080/items"]}]
`

// guest is a pod whose application says nothing for a while after it was told to end.
const guest = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: shop, labels: {app: %[1]s}, annotations: {sidecar.heddle.io/nativeSidecar: "%[2]v"}}
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 25
  containers:
  - {name: client, image: "heddle.local/shop:demo", imagePullPolicy: IfNotPresent, args: [sleep], lifecycle: {preStop: {sleep: {seconds: 15}}}}
`

// apply applies YAML for the length of the test.
func apply(t *testing.T, c *tour.Cluster, text string) {
	t.Helper()
	if err := c.EachYAML([]byte(text), tour.ShopNamespace, func(o *unstructured.Unstructured) error { return c.Apply(t.Context(), o) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.EachYAML([]byte(text), tour.ShopNamespace, func(o *unstructured.Unstructured) error { return c.Delete(context.Background(), o) }); err != nil {
			t.Error(err)
		}
	})
}

// proxyAmong says whether the proxy is one of the containers.
func proxyAmong(containers []corev1.Container) bool {
	for _, c := range containers {
		if c.Name == wire.ProxyContainer {
			return true
		}
	}
	return false
}

// asks wants n requests of a pod's client answered with 200.
func asks(t *testing.T, c *tour.Cluster, selector string) {
	t.Helper()
	eventually(t, t.Context(), 90*time.Second, func() error {
		p, err := c.Pod(t.Context(), tour.ShopNamespace, selector)
		if err != nil {
			return err
		}
		answer, err := c.Ask(t.Context(), p, "client", "client", "-n", "10", items)
		if err == nil && !answer.All("200") {
			err = fmt.Errorf("%s: %s", selector, answer)
		}
		return err
	})
}

func TestNativeAndOrdinarySidecars(t *testing.T) {
	c := connect(t)
	for name, native := range map[string]bool{"lodger-native": true, "lodger-ordinary": false} {
		t.Run(name, func(t *testing.T) {
			apply(t, c, fmt.Sprintf(lodger, name, native))
			asks(t, c, "app="+name)
			p, err := c.Pod(t.Context(), tour.ShopNamespace, "app="+name)
			if err != nil {
				t.Fatal(err)
			}
			if proxyAmong(p.Spec.InitContainers) != native || proxyAmong(p.Spec.Containers) == native {
				t.Errorf("the proxy is not where it should be: native %v", native)
			}
		})
	}
}

// TestAnEndingApplicationReachesTheMesh has an application ask again after it was silent for longer than a proxy waits for a client.
func TestAnEndingApplicationReachesTheMesh(t *testing.T) {
	c, kube := connect(t), clientset(t)
	for name, native := range map[string]bool{"guest-native": true, "guest-ordinary": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apply(t, c, fmt.Sprintf(guest, name, native))
			asks(t, c, "app="+name)
			p, err := c.Pod(t.Context(), tour.ShopNamespace, "app="+name)
			if err != nil {
				t.Fatal(err)
			}
			deleted := time.Now()
			if err := c.DeletePod(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(8 * time.Second)
			if answer, err := c.Ask(t.Context(), p, "client", "client", "-n", "5", items); err != nil || !answer.All("200") {
				t.Errorf("8 s after the deletion: %v (%v)", answer, err)
			}
			eventually(t, t.Context(), 30*time.Second, func() error {
				_, err := kube.CoreV1().Pods(p.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
				switch {
				case apierrors.IsNotFound(err):
					return nil
				case err != nil:
					return err
				}
				return fmt.Errorf("still there %s after its deletion", time.Since(deleted).Round(time.Second))
			})
			t.Logf("gone %s after its deletion", time.Since(deleted).Round(time.Second))
		})
	}
}

func TestJobsEndWithEitherSidecar(t *testing.T) {
	c := connect(t)
	for name, native := range map[string]bool{"errand-native": true, "errand-ordinary": false} {
		t.Run(name, func(t *testing.T) {
			apply(t, c, fmt.Sprintf(errand, name, native))
			eventually(t, t.Context(), 90*time.Second, func() error { return c.Completed(t.Context(), tour.ShopNamespace, name) })
		})
	}
}

// TestRestarts ends proxies and control plane replicas and wants traffic to go on, or to come back.
func TestRestarts(t *testing.T) {
	c := connect(t)
	const name = "lodger-restart"
	apply(t, c, fmt.Sprintf(lodger, name, true))
	asks(t, c, "app="+name)
	p, err := c.Pod(t.Context(), tour.ShopNamespace, "app="+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a proxy that ends is started again", func(t *testing.T) {
		if _, err := c.Ask(t.Context(), p, "client", "client", "-method", "POST", fmt.Sprintf("http://127.0.0.1:%d%s", wire.PortStatus, wire.PathQuit)); err != nil {
			t.Fatal(err)
		}
		eventually(t, t.Context(), time.Minute, func() error {
			now, err := c.Pod(t.Context(), tour.ShopNamespace, "app="+name)
			if err == nil && restarts(now) == 0 {
				err = fmt.Errorf("the proxy has not ended")
			}
			return err
		})
		asks(t, c, "app="+name)
	})
	t.Run("a control plane replica that is away is not missed", func(t *testing.T) { replicaAway(t, c, p) })
}

func restarts(p *corev1.Pod) int32 {
	for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		if s.Name == wire.ProxyContainer {
			return s.RestartCount
		}
	}
	return 0
}
