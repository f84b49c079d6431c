package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// Times of TestLongOutages.
const (
	away    = time.Minute
	arrival = 15 * time.Second // of a change, once it can be written again
	soon    = 20 * time.Minute // a stream that is older might end by itself meanwhile
)

// TestLongOutages takes the API server away for a minute under steady load, and brings it back. `make test-long` runs it.
func TestLongOutages(t *testing.T) {
	c := connect(t)
	t.Run("the API server hangs", func(t *testing.T) { apiAway(t, c, "hanging") })
	t.Run("the API server dies as often as it is started", func(t *testing.T) { apiAway(t, c, "dying", "--kill") })
}

// apiAway wants nobody to notice but those who write: no request fails, no stream of a proxy ends, no replica of the control plane restarts or is unready,
// and what is written afterwards arrives soon.
func apiAway(t *testing.T, c *tour.Cluster, name string, how ...string) {
	r, x := newTrial(t, c, name, backend{replicas: 2}), newInstallation(t)
	r.written(1)
	loads := []*runner{
		r.send("mesh-http1", tour.ShopNamespace, r.url("/items")), r.send("mesh-http2", tour.ShopNamespace, "-h2", r.url("/items")),
		r.send("mesh-fresh", tour.ShopNamespace, "-fresh", "-host", name+".shop:8080", "http://"+x.address(name)+":8080/items"),
		r.send("gateway", tour.PlainNamespace, "-host", name+".example.com", "http://"+doorService+"."+tour.GatewayNamespace+"/items"),
	}
	x.synced()
	before, planes := x.connected(), x.planes()
	unready := watchReadiness(t, planes)
	outage(t, how...)
	r.written(2)
	since := time.Now()
	r.sees(2)
	if took := time.Since(since); took > arrival {
		t.Errorf("what was written afterwards arrived after %v", took)
	}
	x.leads(since, r.name)
	x.unmoved(before)
	for _, failure := range unready() {
		t.Errorf("meanwhile a replica was not ready: %s", failure)
	}
	for name, was := range planes {
		if now := x.planes()[name]; now == nil || now.Status.ContainerStatuses[0].RestartCount != was.Status.ContainerStatuses[0].RestartCount {
			t.Errorf("replica %s was restarted", name)
		}
	}
	for _, l := range loads {
		l.finish()
	}
	if t.Failed() {
		r.explain()
	}
}

// outage takes the API server away for a while. Kubernetes' controllers, which here have no lease that they could lose, end meanwhile as they do elsewhere:
// ones that went on would take all nodes for dead, and all pods for unready, before the nodes have had a word.
func outage(t *testing.T, how ...string) {
	t.Helper()
	var both errgroup.Group
	both.Go(func() error { return take(t.Context(), "kube-apiserver", how...) })
	both.Go(func() error { return take(t.Context(), "kube-controller-manager", "--kill") })
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
}

// take takes a program of the control plane of Kubernetes away for a while.
func take(ctx context.Context, program string, how ...string) error {
	args := append([]string{"run", "./cmd/cluster", "outage", "--for", away.String()}, how...)
	cmd := exec.CommandContext(ctx, "go", append(args, "control", program)...)
	cmd.Dir = "../cluster"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// address is a Service's in the shop. Who opens connections while the API server comes back had better not ask for it: Kubernetes may take all nodes for dead
// for a moment, and with them the cluster's DNS.
func (x *installation) address(service string) string {
	x.t.Helper()
	s, err := x.kube.CoreV1().Services(tour.ShopNamespace).Get(x.t.Context(), service, metav1.GetOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	return s.Spec.ClusterIP
}

// written has a state of the route written as soon as the API server takes it.
func (r *trial) written(state int) {
	r.t.Helper()
	eventually(r.t, r.t.Context(), time.Minute, func() error {
		ctx, stop := context.WithTimeout(r.t.Context(), 5*time.Second)
		defer stop()
		return r.Apply(ctx, route(r.name, state))
	})
}

// runner is a load that a pod sends by itself: it needs no API server.
type runner struct {
	t   *testing.T
	c   *tour.Cluster
	pod *corev1.Pod
}

// lasts is how long runners send: for the outage, and some time before and after it.
const lasts = away + 100*time.Second

const runnerText = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {app: %[1]s}}
spec:
  restartPolicy: Never
  serviceAccountName: client
  containers: [{name: client, image: "heddle.local/shop:demo", imagePullPolicy: IfNotPresent, args: %[3]s}]
`

// send has a pod send requests until it is to finish.
func (r *trial) send(what, namespace string, args ...string) *runner {
	r.t.Helper()
	name := r.name + "-" + what
	line, err := json.Marshal(append([]string{"client", "-c", fmt.Sprint(workers), "-pause", "20ms", "-duration", lasts.String()}, args...))
	if err != nil {
		r.t.Fatal(err)
	}
	apply(r.t, r.Cluster, fmt.Sprintf(runnerText, name, namespace, line))
	e := &runner{t: r.t, c: r.Cluster}
	eventually(r.t, r.t.Context(), time.Minute, func() (err error) {
		e.pod, err = r.Pod(r.t.Context(), namespace, "app="+name)
		return err
	})
	return e
}

// finish wants all requests to have been answered.
func (e *runner) finish() {
	e.t.Helper()
	pods := clientset(e.t).CoreV1().Pods(e.pod.Namespace)
	eventually(e.t, e.t.Context(), lasts, func() error {
		p, err := pods.Get(e.t.Context(), e.pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, of := range p.Status.ContainerStatuses {
			if of.Name == "client" && of.State.Terminated != nil {
				return nil
			}
		}
		return fmt.Errorf("%s still sends", p.Name)
	})
	text, err := e.c.Logs(e.t.Context(), e.pod, "client", 1)
	if err != nil {
		e.t.Fatal(err)
	}
	var tally tour.Tally
	if err := json.Unmarshal([]byte(text), &tally); err != nil {
		e.t.Fatalf("%v in %q", err, text)
	}
	e.t.Logf("%s: %s in %.0f s, the slowest in %.2f s", e.pod.Name, &tally, tally.Seconds, tally.Slowest)
	if !tally.All("200") || tally.Seconds < lasts.Seconds()-1 {
		e.t.Errorf("%s: %s", e.pod.Name, &tally)
	}
}

// connected are the streams of all proxies, by proxy.
func (x *installation) connected() map[string]proxy.Status {
	x.t.Helper()
	all, err := x.statuses()
	if err != nil {
		x.t.Fatal(err)
	}
	out := map[string]proxy.Status{}
	for _, s := range all {
		out[s.Proxy] = s
	}
	return out
}

// unmoved wants streams to be the very same as before.
func (x *installation) unmoved(before map[string]proxy.Status) {
	x.t.Helper()
	now, same := x.connected(), 0
	for name, was := range before {
		switch is, there := now[name]; {
		case time.Since(was.Since) > soon+away:
		case !there || is.ControlPlane != was.ControlPlane || !is.Since.Equal(was.Since):
			x.t.Errorf("the stream of %s was cut: it lasts since %v at %s, and before that since %v at %s", name, is.Since, is.ControlPlane, was.Since, was.ControlPlane)
		default:
			same++
		}
	}
	x.t.Logf("%d of %d streams are the same", same, len(before))
	if same == 0 {
		x.t.Error("no stream is the same")
	}
}

// planes are the pods of the control plane by name.
func (x *installation) planes() map[string]*corev1.Pod {
	x.t.Helper()
	list, err := x.kube.CoreV1().Pods(wire.SystemNamespace).List(x.t.Context(), metav1.ListOptions{LabelSelector: "app=" + wire.DiscoveryService})
	if err != nil {
		x.t.Fatal(err)
	}
	out := map[string]*corev1.Pod{}
	for i := range list.Items {
		out[list.Items[i].Name] = &list.Items[i]
	}
	return out
}

// watchReadiness asks replicas each second whether they are ready, as their kubelet does. What it returns ends that and tells who was not.
func watchReadiness(t *testing.T, planes map[string]*corev1.Pod) (end func() []string) {
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var unready []string
	running.Go(func() {
		for ctx.Err() == nil {
			for name, p := range planes {
				if err := readiness(ctx, p.Status.PodIP); err != nil && ctx.Err() == nil {
					unready = append(unready, fmt.Sprintf("%s at %s: %v", name, time.Now().Format(time.TimeOnly), err))
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	t.Cleanup(stop)
	return func() []string {
		stop()
		running.Wait()
		return unready
	}
}

func readiness(ctx context.Context, ip string) error {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/ready", ip, wire.PortHealth), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// leads wants a replica to lead again: the lease was renewed since, and the route's status tells of the route as it is.
func (x *installation) leads(since time.Time, name string) {
	x.t.Helper()
	eventually(x.t, x.t.Context(), time.Minute, func() error {
		lease, err := x.kube.CoordinationV1().Leases(wire.SystemNamespace).Get(x.t.Context(), wire.LeaderElectionLease, metav1.GetOptions{})
		switch {
		case err != nil:
			return err
		case lease.Spec.RenewTime == nil || lease.Spec.RenewTime.Time.Before(since):
			return fmt.Errorf("the lease was renewed at %v", lease.Spec.RenewTime)
		}
		o, err := x.dynamic.Resource(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}).Namespace(tour.ShopNamespace).
			Get(x.t.Context(), name+"-door", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return acknowledged(o)
	})
}

// acknowledged says why an object's status does not tell that all proxies have its generation.
func acknowledged(o *unstructured.Unstructured) error {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return err
	}
	for _, one := range conditions {
		c, _ := one.(map[string]any)
		if c["type"] == "Acknowledged" && c["status"] == "True" && c["observedGeneration"] == o.GetGeneration() {
			return nil
		}
	}
	return fmt.Errorf("generation %d is not acknowledged in %v", o.GetGeneration(), conditions)
}
