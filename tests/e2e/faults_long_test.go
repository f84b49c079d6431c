package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// TestLongFaults has things happen under steady load that are rarer, or take longer, than those of TestFaults. `make test-long` runs it.
func TestLongFaults(t *testing.T) {
	c := connect(t)
	t.Run("at once", func(t *testing.T) { // each has its own backend
		for name, fault := range map[string]func(*testing.T, *tour.Cluster){
			"a backend's pod is killed": killed, "a host that fails is ejected": ejected, "the mesh changes ten times a second": changing,
			"certificates are renewed every few seconds": renewing,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fault(t, c)
			})
		}
		t.Run("connections that the backend closes while they are used", func(t *testing.T) {
			t.Parallel()
			closing(t, c, 2*time.Minute)
		})
	})
	t.Run("a gateway is rolled out", func(t *testing.T) { doorRolled(t, c) })
	t.Run("a replica of the control plane is killed in mid-push", func(t *testing.T) { planeKilled(t, c) })
	t.Run("an upgrade and a rollback", func(t *testing.T) { upgraded(t, c) })
}

// killed ends a pod without notice. What was in flight there may fail, if it was not to be repeated: no more than the workers' requests. A policy
// that repeats them hides it.
func killed(t *testing.T, c *tour.Cluster) {
	r := newTrial(t, c, "killed", backend{replicas: 3, more: `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: NAME-door, namespace: shop}
spec:
  hosts: [NAME, NAME.example.com]
  gateways: [mesh, heddle-gateways/NAME]
  http:
  - {match: [{method: {exact: GET}}], retries: {attempts: 3, retryOn: "5xx,reset,connect-failure,refused-stream"}, route: [{destination: {host: NAME}}]}
  - {route: [{destination: {host: NAME}}]}
`})
	for _, allowed := range []struct {
		failures int
		args     []string
	}{{0, nil}, {workers, []string{"-method", "POST", "-body", "{}"}}} {
		r.start("/items", allowed.args...)
		now, seconds := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, time.Second
		if err := clientset(t).CoreV1().Pods(tour.ShopNamespace).Delete(t.Context(), r.pod(tour.ShopNamespace, "app=killed").Name, now); err != nil {
			t.Fatal(err)
		}
		r.alone(3)
		r.settled()
		time.Sleep(3 * seconds) // the new one has its share
		r.finish(allowed.failures)
	}
}

// consecutive failures eject a host.
const consecutive = 5

// ejected has one of three hosts fail, which is asked wherever it is. Each proxy sees that for itself; from then on nothing fails.
func ejected(t *testing.T, c *tour.Cluster) {
	r := newTrial(t, c, "ejected", backend{replicas: 2, more: `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: NAME, namespace: shop}
spec: {host: NAME, trafficPolicy: {loadBalancer: {localityLbSetting: {enabled: false}}, outlierDetection: {consecutive5xxErrors: 5, interval: 1s, baseEjectionTime: 15m, maxEjectionPercent: 50}}}
`})
	// It comes when the load is on. The load must be seen to fail first.
	r.start("/items")
	apply(t, c, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ejected-bad, namespace: shop}
spec:
  selector: {matchLabels: {app: ejected, bad: "yes"}}
  template:
    metadata: {labels: {app: ejected, bad: "yes"}}
    spec:
      serviceAccountName: catalog
      containers:
      - {name: app, image: "heddle.local/shop:demo", imagePullPolicy: IfNotPresent, args: [catalog], env: [{name: FAIL, value: "500"}], readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}
`)
	if err := c.Settled(t.Context(), tour.ShopNamespace, "ejected-bad"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second) // at 100 requests per second and two proxies, a third of them to the host that fails
	failed := 0
	for _, answer := range r.finish(2 * (consecutive + workers)) { // two loads share the proxy of the client
		failed += answer.Codes["500"]
	}
	if failed < consecutive {
		t.Errorf("only %d requests failed: nobody was ejected", failed)
	}
	r.start("/items")
	time.Sleep(10 * time.Second)
	r.finish(0)
}

// route is a state of what changes, within the mesh and at the gateway: weights, a header and a timeout.
func route(name string, i int) *unstructured.Unstructured {
	destination := map[string]any{"host": name}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
		"metadata": map[string]any{"name": name + "-door", "namespace": tour.ShopNamespace},
		"spec": map[string]any{"hosts": []any{name, name + ".example.com"}, "gateways": []any{"mesh", tour.GatewayNamespace + "/" + name}, "http": []any{map[string]any{
			"timeout": fmt.Sprintf("%ds", 15+i%5), "headers": map[string]any{"response": map[string]any{"set": map[string]any{"x-state": fmt.Sprint(i)}}},
			"route": []any{map[string]any{"destination": destination, "weight": int64(i % 100)}, map[string]any{"destination": destination, "weight": int64(100 - i%100),
				"headers": map[string]any{"request": map[string]any{"set": map[string]any{"x-other": "yes"}}}}}}}}}}
}

// change applies states of a route, ten each second, until ctx ends, and returns the last one. While nobody judges it, none is accepted.
func (r *trial) change(ctx context.Context) (n int) {
	r.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := r.Apply(r.t.Context(), route(r.name, n+1))
		switch {
		case err == nil:
			n++
		case !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "failed calling webhook"):
			r.t.Error(err)
			return n
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return n
}

// sees waits until a state of the route is in force for all.
func (r *trial) sees(state int) {
	r.t.Helper()
	for _, from := range []struct {
		namespace string
		args      []string
	}{{tour.ShopNamespace, []string{r.url("/items")}}, {tour.PlainNamespace, []string{"-host", r.name + ".example.com", "http://" + doorService + "." + tour.GatewayNamespace + "/items"}}} {
		eventually(r.t, r.t.Context(), time.Minute, func() error {
			client, err := r.Pod(r.t.Context(), from.namespace, "app=client")
			if err != nil {
				return err
			}
			return r.shows(state, client, from.args...)
		})
	}
}

// shown waits until a state of the route is in force for what a client asks for.
func (r *trial) shown(state int, client *corev1.Pod, args ...string) {
	r.t.Helper()
	eventually(r.t, r.t.Context(), time.Minute, func() error { return r.shows(state, client, args...) })
}

// shows asks which state is in force.
func (r *trial) shows(state int, client *corev1.Pod, args ...string) error {
	answer, err := r.Ask(r.t.Context(), client, "client", append([]string{"client"}, args...)...)
	if err == nil && fmt.Sprint(answer.Headers["X-State"]) != fmt.Sprintf("[%d]", state) {
		err = fmt.Errorf("state %v is in force for %s, not %d", answer.Headers["X-State"], client.Name, state)
	}
	return err
}

// changing changes a route ten times a second for two minutes.
func changing(t *testing.T, c *tour.Cluster) {
	r := newTrial(t, c, "changing", backend{replicas: 2})
	r.start("/items")
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	n := r.change(ctx)
	r.sees(n)
	t.Logf("%d states of the route", n)
	if n < 600 { // an API server under load takes its time
		t.Errorf("only %d states in two minutes", n)
	}
	r.finish(0)
}

// doorRolled replaces the pods of a gateway.
func doorRolled(t *testing.T, c *tour.Cluster) {
	r := newTrial(t, c, "door", backend{replicas: 2})
	before := r.pod(tour.GatewayNamespace, doorSelector)
	r.start("/items")
	if err := c.Roll(t.Context(), tour.GatewayNamespace, doorService); err != nil {
		t.Fatal(err)
	}
	if err := c.Settled(t.Context(), tour.GatewayNamespace, doorService); err != nil {
		t.Fatal(err)
	}
	kube := clientset(t)
	eventually(t, t.Context(), 2*time.Minute, func() error { // it drains
		if _, err := kube.CoreV1().Pods(before.Namespace).Get(t.Context(), before.Name, metav1.GetOptions{}); err == nil {
			return fmt.Errorf("%s is still there", before.Name)
		}
		return nil
	})
	r.finish(0)
}

// planeKilled ends a replica of the control plane without notice while a route changes ten times a second. Its clients go to the other, and
// everybody ends with the last state.
func planeKilled(t *testing.T, c *tour.Cluster) {
	r, x := newTrial(t, c, "planekilled", backend{replicas: 2}), newInstallation(t)
	r.start("/items")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	changed := make(chan int, 1)
	go func() { changed <- r.change(ctx) }()
	for range 2 { // the second is, for some, the one that they went to
		dead := x.serving(r.pod(tour.ShopNamespace, "app=client"))
		if err := x.kube.CoreV1().Pods(wire.SystemNamespace).Delete(t.Context(), dead, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Fatal(err)
		}
		if by := x.serving(r.pod(tour.ShopNamespace, "app=client")); by == dead {
			t.Errorf("the client's proxy is served by %s, which is dead", by)
		}
		if err := c.Settled(t.Context(), wire.SystemNamespace, wire.DiscoveryService); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	r.sees(<-changed)
	x.synced()
	r.finish(0)
}

// handmade is a pod as the injector makes it, but for variables of its proxy that people may not set.
type handmade struct {
	name, app, account, program string
	environment                 map[string]string
}

// byHand makes the pod for the length of the test and waits until it is ready.
func byHand(t *testing.T, c *tour.Cluster, h handmade) *corev1.Pod {
	t.Helper()
	pods := clientset(t).CoreV1().Pods(tour.ShopNamespace)
	pod, err := dryRun(t.Context(), clientset(t), tour.ShopNamespace, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: h.name, Labels: map[string]string{"app": h.app}},
		Spec: corev1.PodSpec{ServiceAccountName: h.account, Containers: []corev1.Container{{Name: "client", Image: c.Image, Args: []string{h.program}}}}})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name != wire.ProxyContainer {
				continue
			}
			found = true
			for variable, value := range h.environment {
				list[i].Env = append(withoutVariable(list[i].Env, variable), corev1.EnvVar{Name: variable, Value: value})
			}
		}
	}
	if !found {
		t.Fatalf("the pod has no proxy: %s", containers(pod))
	}
	pod.ObjectMeta = metav1.ObjectMeta{Name: h.name, Namespace: tour.ShopNamespace, Labels: pod.Labels, Annotations: pod.Annotations}
	pod.Labels[wire.PodInjectLabel], pod.Status = "false", corev1.PodStatus{}
	if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pods.Delete(context.Background(), h.name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	var ready *corev1.Pod
	eventually(t, t.Context(), 2*time.Minute, func() (err error) {
		ready, err = c.Pod(t.Context(), tour.ShopNamespace, "app="+h.app+","+wire.PodInjectLabel+"=false")
		return err
	})
	return ready
}

func withoutVariable(all []corev1.EnvVar, name string) (out []corev1.EnvVar) {
	for _, v := range all {
		if v.Name != name {
			out = append(out, v)
		}
	}
	return out
}

// serial is of the certificate of a pod's proxy.
func serial(t *testing.T, c *tour.Cluster, p *corev1.Pod) (string, error) {
	t.Helper()
	answer, err := c.Ask(t.Context(), p, "client", "client", fmt.Sprintf("http://127.0.0.1:%d/certs", wire.PortAdmin))
	if err != nil {
		return "", err
	}
	var shown struct{ Workload struct{ Serial string } }
	if err := json.Unmarshal([]byte(answer.Body), &shown); err != nil {
		return "", err
	}
	if shown.Workload.Serial == "" {
		return "", errors.New("the proxy has no certificate")
	}
	return shown.Workload.Serial, nil
}

// renewing renews the certificates of both sides every four seconds, with as many new connections as old ones.
func renewing(t *testing.T, c *tour.Cluster) {
	often := map[string]string{wire.EnvCertTTL: "8s"}
	r := newTrial(t, c, "renewing", backend{replicas: 1})
	byHand(t, c, handmade{"renewing-server", "renewing", "catalog", "catalog", often})
	client := byHand(t, c, handmade{"renewing-client", "renewing-client", "client", "sleep", often})
	r.load("kept connections", client, r.url("/items"))
	r.load("HTTP/2", client, r.url("/items"), "-h2")
	r.load("new connections", client, r.url("/items"), "-fresh")
	seen := map[string]bool{}
	eventually(t, t.Context(), 3*time.Minute, func() error {
		s, err := serial(t, c, client)
		if err != nil {
			return err
		}
		if seen[s] = true; len(seen) < 10 {
			return fmt.Errorf("only %d certificates", len(seen))
		}
		return nil
	})
	r.finish(0)
}
