package tour

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/samples"
)

const (
	fieldOwner  = "heddle-demo"
	forgetLimit = 3 * time.Minute // gateways drain
)

// Cluster is a connection to the cluster that is shown.
type Cluster struct {
	rest    *rest.Config
	kube    kubernetes.Interface
	objects client.Client
	// Image replaces heddle.local/shop:demo in samples; empty: as it is.
	Image string
	// OutsideCA is the authority of the HTTPS server outside, PEM; empty where there is no outside.
	OutsideCA []byte
	// Capture says whether a marker crosses the wire between nodes while f runs; nil where the wire is out of reach.
	Capture func(ctx context.Context, marker []byte, f func() error) (bool, error)
	// Certs are the demo's own certificates of the ingress gateways.
	Certs *Certificates
	own   bool // the demo's own cluster
}

// Connect returns a Cluster, with certificates for the gateways that Secrets writes. It does no I/O; the client discovers the API.
func Connect(config *rest.Config) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 100, 200
	log.SetLogger(logr.Discard())
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	objects, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("making an object client: %w", err)
	}
	certs, err := NewCertificates(PublicHost, PrivateHost)
	if err != nil {
		return nil, err
	}
	return &Cluster{rest: config, kube: kube, objects: objects, Certs: certs}, nil
}

// Kubeconfig is where the demo's own cluster is reached.
const Kubeconfig = "/var/lib/heddle-cluster/kubeconfig"

// Own says that this is the demo's own cluster: its wires can be listened to, and it has an outside.
func (c *Cluster) Own() error {
	var err error
	c.Capture, c.own = capture, true
	if c.OutsideCA, err = os.ReadFile(filepath.Join(filepath.Dir(Kubeconfig), "outside", "ca.pem")); err != nil {
		return fmt.Errorf("reading the outside's authority: %w", err)
	}
	return nil
}

// Sample applies a sample's YAML by server-side apply.
func (c *Cluster) Sample(ctx context.Context, path, namespace string) error {
	return c.eachObject(path, namespace, func(o *unstructured.Unstructured) error {
		return c.Apply(ctx, o)
	})
}

// Apply applies one object.
func (c *Cluster) Apply(ctx context.Context, o *unstructured.Unstructured) error {
	o.SetManagedFields(nil)
	if err := c.objects.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// Remove deletes what Sample applied.
func (c *Cluster) Remove(ctx context.Context, path, namespace string) error {
	return c.eachObject(path, namespace, func(o *unstructured.Unstructured) error {
		return c.Delete(ctx, o)
	})
}

func (c *Cluster) eachObject(path, namespace string, f func(o *unstructured.Unstructured) error) error {
	text, err := fs.ReadFile(samples.FS, path)
	if err != nil {
		return fmt.Errorf("reading sample: %w", err)
	}
	return c.EachYAML(text, namespace, f)
}

// EachYAML calls f for each object of a YAML text; namespace is for those that name none.
func (c *Cluster) EachYAML(text []byte, namespace string, f func(o *unstructured.Unstructured) error) error {
	if c.Image != "" {
		text = bytes.ReplaceAll(text, []byte("heddle.local/shop:demo"), []byte(c.Image))
	}
	for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		var o unstructured.Unstructured
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("parsing YAML: %w", err)
		}
		if len(o.Object) == 0 {
			continue
		}
		if o.GetNamespace() == "" && o.GetKind() != "Namespace" {
			o.SetNamespace(namespace)
		}
		if err := f(&o); err != nil {
			return err
		}
	}
}

// Pod returns one running and ready pod that the labels choose.
func (c *Cluster) Pod(ctx context.Context, namespace, selector string) (*corev1.Pod, error) {
	pods, err := c.Pods(ctx, namespace, selector)
	if err != nil {
		return nil, err
	}
	for i := range pods {
		if ready(&pods[i]) {
			return &pods[i], nil
		}
	}
	return nil, fmt.Errorf("no ready pod of %d in %s with %s", len(pods), namespace, selector)
}

// Pods returns the pods that the labels choose and that are not about to go.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := c.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	var out []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			out = append(out, p)
		}
	}
	return out, nil
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// WaitReady waits until every Deployment of a namespace has rolled out.
func (c *Cluster) WaitReady(ctx context.Context, namespace string, limit time.Duration) error {
	return eventually(ctx, limit, func(ctx context.Context) error {
		list, err := c.kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing deployments: %w", err)
		}
		for i := range list.Items {
			if err := rolledOut(&list.Items[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func rolledOut(d *appsv1.Deployment) error {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.ReadyReplicas != want || s.Replicas != want {
		return fmt.Errorf("deployment %s/%s: %d of %d ready", d.Namespace, d.Name, s.ReadyReplicas, want)
	}
	return nil
}

// Exec runs a command in a pod and returns what it printed.
func (c *Cluster) Exec(ctx context.Context, p *corev1.Pod, container string, command ...string) (string, error) {
	return c.exec(ctx, p, container, nil, command...)
}

// exec is Exec with something to read for the command; nil is nothing.
func (c *Cluster) exec(ctx context.Context, p *corev1.Pod, container string, stdin io.Reader, command ...string) (string, error) {
	req := c.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdin: stdin != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	exec, err := remotecommand.NewWebSocketExecutor(c.rest, "GET", req.URL().String())
	if err != nil {
		return "", fmt.Errorf("preparing exec: %w", err)
	}
	var stdout, stderr output
	if err := exec.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: &stdout, Stderr: &stderr}); err != nil {
		return stdout.String(), fmt.Errorf("exec in %s/%s: %w: %s", p.Namespace, p.Name, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// output is what a command printed. When a context ends, the library still copies while its caller reads.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns what has come so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Tally is what the sample's client saw.
type Tally struct {
	Sent     int                 `json:"sent"`
	Codes    map[string]int      `json:"codes"`
	Versions map[string]int      `json:"versions"`
	Errors   map[string]int      `json:"errors"`
	Body     string              `json:"body"`
	Headers  map[string][]string `json:"headers"`
	BytesOut float64             `json:"bytesOut"` // of request bodies, or of lines
	BytesIn  float64             `json:"bytesIn"`
	Seconds  float64             `json:"seconds"`
	Slowest  float64             `json:"slowest"`
	Streams  int                 `json:"streams"`
	Whole    int                 `json:"whole"`
	Shortest float64             `json:"shortest"` // seconds
}

// All reports whether every request got the code.
func (t *Tally) All(code string) bool { return t.Sent > 0 && t.Codes[code] == t.Sent }

func (t *Tally) String() string {
	s := fmt.Sprintf("%d sent: %v", t.Sent, t.Codes)
	if len(t.Versions) > 0 {
		s += fmt.Sprintf(", answered by %v", t.Versions)
	}
	if len(t.Errors) > 0 {
		s += fmt.Sprintf(", errors %v", t.Errors)
	}
	return s
}

// From is a place to send requests from.
type From struct{ Namespace, Selector, Container, Name string }

// The clients of the demo.
var (
	fromClient   = From{ShopNamespace, "app=client", "client", "deploy/client-v1"}
	fromWorker   = From{ShopNamespace, "app=client-worker", "client", "deploy/client-worker"}
	fromRoamer   = From{ShopNamespace, "app=client-roamer", "client", "deploy/client-roamer"}
	fromPlain    = From{PlainNamespace, "app=client", "client", "deploy/client-v1"}
	fromShopping = From{ShopNamespace, "app=storefront", "storefront", "deploy/storefront-v1"}
)

// shell is arguments as a shell reads them.
func shell(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if quoted[i] = a; a == "" || strings.ContainsFunc(a, func(r rune) bool { return strings.ContainsRune(" \t\"\\$`;&|<>()*?[]{}#~!", r) }) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// Client runs the sample's client and reads its tally; the command is printed.
func (s *Stage) Client(ctx context.Context, from From, args ...string) (*Tally, error) {
	s.asks(from, args...)
	return s.client(ctx, from, args...)
}

// asks prints the command by which a reader runs the sample's client, for requests that are tried until they show what they shall.
func (s *Stage) asks(from From, args ...string) {
	s.Ran("kubectl -n %s exec %s -c %s -- /shop client %s", from.Namespace, from.Name, from.Container, shell(args))
}

func (c *Cluster) client(ctx context.Context, from From, args ...string) (*Tally, error) {
	return c.program(ctx, from, append([]string{"client"}, args...)...)
}

// Ask runs one of the sample's programs that print a tally (client, tcpclient, stream) in a pod.
func (c *Cluster) Ask(ctx context.Context, p *corev1.Pod, container string, args ...string) (*Tally, error) {
	return c.ask(ctx, p, container, nil, args...)
}

func (c *Cluster) ask(ctx context.Context, p *corev1.Pod, container string, stdin io.Reader, args ...string) (*Tally, error) {
	out, err := c.exec(ctx, p, container, stdin, append([]string{"/shop"}, args...)...)
	if err != nil {
		return nil, err
	}
	var t Tally
	if err := json.Unmarshal([]byte(out), &t); err != nil {
		return nil, fmt.Errorf("reading the client's tally: %w in %q", err, out)
	}
	return &t, nil
}

func (c *Cluster) program(ctx context.Context, from From, args ...string) (*Tally, error) {
	p, err := c.Pod(ctx, from.Namespace, from.Selector)
	if err != nil {
		return nil, err
	}
	return c.Ask(ctx, p, from.Container, args...)
}

// Logs returns the last lines of a container's log.
func (c *Cluster) Logs(ctx context.Context, p *corev1.Pod, container string, lines int64) (string, error) {
	return c.log(ctx, p, &corev1.PodLogOptions{Container: container, TailLines: &lines})
}

func (c *Cluster) log(ctx context.Context, p *corev1.Pod, o *corev1.PodLogOptions) (string, error) {
	raw, err := c.kube.CoreV1().Pods(p.Namespace).GetLogs(p.Name, o).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the log of %s/%s: %w", p.Namespace, p.Name, err)
	}
	return string(raw), nil
}

// Refresh rolls out again the Deployments of which a pod has another proxy than the given one.
func (c *Cluster) Refresh(ctx context.Context, image string, namespaces ...string) error {
	for _, n := range namespaces {
		deployments, err := c.kube.AppsV1().Deployments(n).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing deployments: %w", err)
		}
		for _, d := range deployments.Items {
			pods, err := c.Pods(ctx, n, metav1.FormatLabelSelector(d.Spec.Selector))
			if err != nil {
				return err
			}
			if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return proxyImage(&p) != image }) {
				if err := c.Roll(ctx, n, d.Name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func proxyImage(p *corev1.Pod) string {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			if c.Name == wire.ProxyContainer {
				return c.Image
			}
		}
	}
	return ""
}

// Delete deletes an object and does not wait until it is gone.
func (c *Cluster) Delete(ctx context.Context, o *unstructured.Unstructured) error {
	if err := c.objects.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// DeletePod deletes a pod.
func (c *Cluster) DeletePod(ctx context.Context, p *corev1.Pod) error {
	if err := c.kube.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return nil
}

// Completed says why a Job has not completed yet.
func (c *Cluster) Completed(ctx context.Context, namespace, name string) error {
	j, err := c.kube.BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading job %s/%s: %w", namespace, name, err)
	}
	if j.Status.Succeeded == 0 {
		return fmt.Errorf("job %s/%s has not completed: %d active, %d failed", namespace, name, j.Status.Active, j.Status.Failed)
	}
	return nil
}
