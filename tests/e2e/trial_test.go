package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// trial is a backend under steady load, from a pod's sidecar over HTTP/1.1 and HTTP/2 and through a gateway, while something happens to it.
type trial struct {
	*tour.Cluster
	t     *testing.T
	name  string // of the backend's Service and Deployment, in the shop
	loads []*stream
}

// stream is one of the loads.
type stream struct {
	what  string
	begun time.Time
	end   func() (*tour.Tally, error)
}

// workers are the requests that each load has in flight at most.
const workers = 2

// Where the loads come from and go through.
const (
	doorService  = "internet" // a gateway of the demo
	doorSelector = "heddle.dev/gateway=" + doorService
)

// backend is what trials ask. Everything else about a Deployment is as people leave it.
type backend struct {
	replicas    int
	environment string // a list in YAML
	more        string // further objects
}

const backendText = `
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: shop}
spec: {selector: {app: %[1]s}, ports: [{name: http, port: 8080, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: shop, labels: {app: %[1]s}}
spec:
  replicas: %[2]d
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      serviceAccountName: catalog
      containers:
      - name: app
        image: heddle.local/shop:demo
        imagePullPolicy: IfNotPresent
        args: [catalog]
        env: [%[3]s]
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 32Mi}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %[1]s, namespace: heddle-gateways}
spec:
  selector: {heddle.dev/gateway: internet}
  servers: [{port: {number: 80, name: http-%[1]s, protocol: HTTP}, hosts: ["shop/%[1]s.example.com"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[1]s-door, namespace: shop}
spec: {hosts: [%[1]s.example.com], gateways: [heddle-gateways/%[1]s], http: [{route: [{destination: {host: %[1]s}}]}]}
`

// newTrial deploys a backend for the length of the test and waits until it is reached.
func newTrial(t *testing.T, c *tour.Cluster, name string, b backend) *trial {
	t.Helper()
	text := fmt.Sprintf(backendText, name, max(b.replicas, 1), b.environment)
	if b.more != "" {
		text += "---\n" + strings.ReplaceAll(b.more, "NAME", name)
	}
	apply(t, c, text)
	r := &trial{Cluster: c, t: t, name: name}
	r.settled()
	return r
}

// settled waits until the backend has rolled out.
func (r *trial) settled() {
	r.t.Helper()
	if err := r.Settled(r.t.Context(), tour.ShopNamespace, r.name); err != nil {
		r.t.Fatal(err)
	}
}

// alone waits until the backend has as many pods and none that is about to go.
func (r *trial) alone(replicas int) {
	r.t.Helper()
	kube := clientset(r.t)
	eventually(r.t, r.t.Context(), 2*time.Minute, func() error {
		list, err := kube.CoreV1().Pods(tour.ShopNamespace).List(r.t.Context(), metav1.ListOptions{LabelSelector: "app=" + r.name})
		if err == nil && len(list.Items) != replicas {
			err = fmt.Errorf("%s has %d pods, want %d", r.name, len(list.Items), replicas)
		}
		return err
	})
}

// pod is a ready one that labels choose.
func (r *trial) pod(namespace, selector string) *corev1.Pod {
	r.t.Helper()
	p, err := r.Pod(r.t.Context(), namespace, selector)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// url is a path of the backend within the mesh.
func (r *trial) url(path string) string { return "http://" + r.name + ".shop:8080" + path }

// start begins all loads, and returns when each is answered.
func (r *trial) start(path string, args ...string) {
	r.t.Helper()
	client := r.pod(tour.ShopNamespace, "app=client")
	r.load("mesh, HTTP/1.1", client, r.url(path), args...)
	r.load("mesh, HTTP/2", client, r.url(path), append(args, "-h2")...)
	r.load("gateway", r.pod(tour.PlainNamespace, "app=client"), "http://"+doorService+"."+tour.GatewayNamespace+path, append(args, "-host", r.name+".example.com")...)
}

// load begins one load once what it asks for is there: a request of its kind is answered with 200 first.
func (r *trial) load(what string, from *corev1.Pod, url string, args ...string) {
	r.t.Helper()
	eventually(r.t, r.t.Context(), time.Minute, func() error {
		answer, err := r.Ask(r.t.Context(), from, "client", append(append([]string{"client", "-n", "5", "-method", "GET"}, withoutMethod(args)...), url)...)
		if err == nil && !answer.All("200") {
			err = fmt.Errorf("%s: %s", what, answer)
		}
		return err
	})
	s := &stream{what: what, begun: time.Now(), end: r.Load(context.WithoutCancel(r.t.Context()), from, "client", url, args...)}
	var once sync.Once
	end := s.end
	r.t.Cleanup(func() { once.Do(func() { _, _ = end() }) }) // where the test ends early
	s.end = func() (answer *tour.Tally, err error) {
		once.Do(func() { answer, err = end() })
		return answer, err
	}
	r.loads = append(r.loads, s)
}

// withoutMethod leaves the method out of a client's arguments: what is asked ahead of a load must change nothing.
func withoutMethod(args []string) (out []string) {
	for i := 0; i < len(args); i++ {
		if args[i] == "-method" {
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}

// finish ends all loads. Of each, at most that many requests may have failed. It returns what came of them.
func (r *trial) finish(allowed int) []*tour.Tally {
	r.t.Helper()
	var all []*tour.Tally
	now := time.Now()
	for _, s := range r.loads {
		answer, err := s.end()
		if err != nil {
			r.t.Errorf("%s: %v", s.what, err)
			continue
		}
		failed := answer.Sent - answer.Codes["200"]
		r.t.Logf("%s: %s in %.0f s, the slowest in %.2f s", s.what, answer, answer.Seconds, answer.Slowest)
		if answer.Sent == 0 || failed > allowed {
			r.t.Errorf("%s: %d requests failed, at most %d may: %s", s.what, failed, allowed, answer)
		}
		if lasted := now.Sub(s.begun).Seconds(); answer.Seconds < lasted-10 { // a load takes a moment to begin
			r.t.Errorf("%s: the load ended after %.0f s, not after %.0f", s.what, answer.Seconds, lasted)
		}
		all = append(all, answer)
	}
	if r.t.Failed() {
		r.explain()
	}
	r.loads = nil
	return all
}

// failure is a line of the access log that tells of one.
var failure = regexp.MustCompile(`HTTP/[12](\.[01])?" (0|4..|5..) `)

// failures are the lines that the proxies of pods logged of the backend's failed requests.
func (r *trial) failures(namespace, selector string) (lines []string) {
	r.t.Helper()
	pods, err := r.Pods(r.t.Context(), namespace, selector)
	if err != nil {
		r.t.Error(err)
	}
	for i := range pods {
		text, err := r.Logs(r.t.Context(), &pods[i], wire.ProxyContainer, 20000)
		if err != nil {
			r.t.Error(err)
		}
		for line := range strings.Lines(text) {
			if failure.MatchString(line) && strings.Contains(line, r.name) {
				lines = append(lines, pods[i].Name+": "+strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// explain shows what the proxies logged of requests that failed.
func (r *trial) explain() {
	lines := append(r.failures(tour.ShopNamespace, "app in (client, "+r.name+")"), r.failures(tour.GatewayNamespace, doorSelector)...)
	r.t.Logf("the proxies logged:\n%s", strings.Join(lines[:min(len(lines), 20)], "\n"))
}
