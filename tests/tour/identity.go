package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heddle-mesh/heddle/api/wire"
)

const (
	catalogURL   = "http://catalog.shop:8080"
	identityTD   = "spiffe://cluster.local/ns/"
	clientID     = identityTD + "shop/sa/client"
	catalogID    = identityTD + "shop/sa/catalog"
	storefrontID = identityTD + "shop/sa/storefront"
	settleLimit  = 20 * time.Second
)

// HasProxy reports whether the proxy is one of a pod's containers: a sidecar, or a gateway.
func HasProxy(p *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			if c.Name == wire.ProxyContainer {
				return true
			}
		}
	}
	return false
}

// sidecars is claim 1.
func sidecars(ctx context.Context, s *Stage) error {
	for _, n := range []struct {
		namespace string
		want      bool
	}{{ShopNamespace, true}, {PlainNamespace, false}} {
		s.Ran("kubectl -n %s get pods", n.namespace)
		pods, err := s.Pods(ctx, n.namespace, "")
		if err != nil {
			return err
		}
		if len(pods) == 0 {
			return fmt.Errorf("no pods in namespace %s", n.namespace)
		}
		for i := range pods {
			if HasProxy(&pods[i]) != n.want {
				return fmt.Errorf("pod %s/%s: proxy %v, want %v", n.namespace, pods[i].Name, !n.want, n.want)
			}
		}
		s.Saw("%s: %d pods, %s container in each: %v", n.namespace, len(pods), wire.ProxyContainer, n.want)
	}
	return s.job(ctx)
}

// job runs a Job in the mesh that calls the catalog, and wants it to complete.
func (s *Stage) job(ctx context.Context) error {
	jobs := s.kube.BatchV1().Jobs(ShopNamespace)
	background := metav1.DeletePropagationBackground
	if err := jobs.Delete(ctx, "errand", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the last job: %w", err)
	}
	image := "heddle.local/shop:demo"
	if s.Image != "" {
		image = s.Image
	}
	none := int32(0)
	job := &batchv1.Job{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: metav1.ObjectMeta{Name: "errand", Namespace: ShopNamespace}, Spec: batchv1.JobSpec{BackoffLimit: &none, Template: corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "errand"}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, ServiceAccountName: "client",
			Containers: []corev1.Container{{Name: "errand", Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"client", "-n", "3", catalogURL + "/items"}}}}}}}
	text, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("writing a job: %w", err)
	}
	s.Ran("kubectl -n %s delete job errand --ignore-not-found; echo '%s' | kubectl create -f -", ShopNamespace, text)
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error { // the last one may still be going
		_, err := jobs.Create(ctx, job.DeepCopy(), metav1.CreateOptions{})
		return err
	}); err != nil {
		return fmt.Errorf("creating a job: %w", err)
	}
	s.Ran("kubectl -n %s wait --for=condition=complete job/errand", ShopNamespace)
	if err := eventually(ctx, time.Minute, func(ctx context.Context) error {
		return s.Completed(ctx, ShopNamespace, "errand")
	}); err != nil {
		return err
	}
	pods, err := s.kube.CoreV1().Pods(ShopNamespace).List(ctx, metav1.ListOptions{LabelSelector: "job-name=errand"})
	if err != nil || len(pods.Items) == 0 {
		return fmt.Errorf("the job's pod is gone: %w", err)
	}
	if !HasProxy(&pods.Items[0]) {
		return fmt.Errorf("the job's pod has no proxy")
	}
	out, err := s.Logs(ctx, &pods.Items[0], "errand", 1)
	if err != nil {
		return err
	}
	var t Tally
	if err := json.Unmarshal([]byte(out), &t); err != nil || !t.All("200") {
		return fmt.Errorf("the job's requests failed: %v %q", err, out)
	}
	s.Saw("job/errand is complete, with its sidecar; its requests: %s", &t)
	return nil
}

// identities is claim 2.
func identities(ctx context.Context, s *Stage) error {
	seen, err := s.gauges(ctx, "app=client", where{"reporter": "source", "destination_principal": catalogID, "source_principal": clientID, "response_code": "200"}, "istio_requests_total")
	if err != nil {
		return err
	}
	t, err := s.Client(ctx, fromClient, catalogURL+"/items")
	if err != nil {
		return err
	}
	var echo struct{ Headers map[string]string }
	if err := json.Unmarshal([]byte(t.Body), &echo); err != nil {
		return fmt.Errorf("reading the catalog's echo: %w in %q", err, t.Body)
	}
	xfcc := echo.Headers["X-Forwarded-Client-Cert"]
	if !strings.Contains(xfcc, "URI="+clientID) || !strings.Contains(xfcc, "By="+catalogID) {
		return fmt.Errorf("the catalog was told %q, want By=%s and URI=%s", xfcc, catalogID, clientID)
	}
	s.Saw("the catalog's proxy verified: %s", xfcc)
	if err := s.grown(ctx, seen[0], 1); err != nil {
		return fmt.Errorf("the client's proxy did not count the request as one to %s: %w", catalogID, err)
	}
	s.scrapes("app=client", "istio_requests_total")
	s.Saw("the client's proxy verified: istio_requests_total{destination_principal=%q} %v + 1", catalogID, seen[0].before)
	if err := s.impostor(ctx); err != nil {
		return err
	}
	return s.wire(ctx)
}

// desk is a Service whose one endpoint is a WorkloadEntry: an address, and whose it is.
const (
	deskURL     = "http://desk.shop:8080"
	deskService = `{apiVersion: v1, kind: Service, metadata: {name: desk, namespace: shop}, spec: {selector: {app: desk}, ports: [{name: http, port: 8080}]}}`
	deskEntry   = `{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: desk, namespace: shop}, spec: {address: %q, serviceAccount: %s, labels: {app: desk, security.istio.io/tlsMode: istio}}}`
)

// impostor has one of the catalog's pods, with the certificate of the catalog's account, stand behind another Service: first as what it is,
// then as an endpoint of the storefront's account. No rule names identities: a valid certificate of the mesh is not enough where it is not the
// endpoint's own. The refusal must be the client's proxy's, for the name in the certificate.
func (s *Stage) impostor(ctx context.Context) error {
	p, err := s.Pod(ctx, ShopNamespace, "app=catalog")
	if err != nil {
		return err
	}
	defer func() {
		if err := s.clearDesk(context.WithoutCancel(ctx)); err != nil {
			s.Saw("removing the desk: %v", err)
		}
	}()
	if err := s.give(ctx, deskService); err != nil {
		return err
	}
	if err := s.give(ctx, fmt.Sprintf(deskEntry, p.Status.PodIP, "catalog")); err != nil {
		return err
	}
	s.asks(fromClient, deskURL+"/items")
	if err := eventually(ctx, settleLimit, s.known); err != nil {
		return err
	}
	if err := s.give(ctx, fmt.Sprintf(deskEntry, p.Status.PodIP, "storefront")); err != nil {
		return err
	}
	s.asks(fromClient, deskURL+"/items")
	return eventually(ctx, settleLimit, s.refused)
}

// known wants the desk's server to be accepted as the catalog that it is.
func (s *Stage) known(ctx context.Context) error {
	t, err := s.client(ctx, fromClient, deskURL+"/items")
	if err != nil {
		return err
	}
	if !t.All("200") || !strings.Contains(t.Body, "By="+catalogID) {
		return fmt.Errorf("a server with its endpoint's own identity was not accepted: %s: %s", t, t.Body)
	}
	s.Saw("a server with the certificate of its endpoint's account, %s: %s", catalogID, t)
	return nil
}

// refused wants the desk's server to be refused, by the client's proxy, for whose certificate it shows.
func (s *Stage) refused(ctx context.Context) error {
	path := unique("/items?impostor=")
	t, err := s.client(ctx, fromClient, deskURL+path)
	if err != nil {
		return err
	}
	if !t.All("503") {
		return fmt.Errorf("a server with another account's certificate was accepted: %s", t)
	}
	line, err := s.logLine(ctx, "app=client", path, "refusing server "+catalogID+": the endpoint's identity is "+storefrontID)
	if err != nil {
		return err
	}
	if flags := strings.Fields(line[strings.Index(line, path):]); len(flags) < 4 || !strings.HasPrefix(flags[3], "UF") {
		return fmt.Errorf("the refusal does not have the flag UF: %s", line)
	}
	s.reads("app=client", path)
	s.Saw("the same server where the endpoint is the storefront's account's: %s; the client's proxy: %s", t, line)
	return nil
}

// clearDesk removes what impostor applied.
func (c *Cluster) clearDesk(ctx context.Context) error {
	for _, text := range []string{fmt.Sprintf(deskEntry, "", "none"), deskService} {
		if err := c.EachYAML([]byte(text), ShopNamespace, func(o *unstructured.Unstructured) error { return c.Delete(ctx, o) }); err != nil {
			return err
		}
	}
	return nil
}

// unique returns a path that no request had before, so that what is said of it is said of this one.
func unique(path string) string { return fmt.Sprint(path, time.Now().UnixNano()) }

// restore puts the catalog's rules back as the tour expects them; an error shows in whatever comes next.
func (s *Stage) restore(ctx context.Context) {
	if err := s.Sample(context.WithoutCancel(ctx), "canary/subsets.yaml", ShopNamespace); err != nil {
		s.Saw("restoring the catalog's rule: %v", err)
	}
}

// wire looks for a marker between the nodes, with mutual TLS off and on.
func (s *Stage) wire(ctx context.Context) error {
	if s.Capture == nil {
		return NotShown{"a capture between the nodes needs the demo's own cluster (identities were shown)"}
	}
	if err := s.apply(ctx, "mtls/off.yaml"); err != nil {
		return err
	}
	defer s.restore(ctx)
	var marker string
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
		var found bool
		var err error
		marker, found, err = s.marker(ctx, "in-the-clear")
		if err == nil && !found {
			err = fmt.Errorf("with mutual TLS off the marker was not seen between the nodes")
		}
		return err
	}); err != nil {
		return err
	}
	s.showMarker(marker)
	s.Saw("mutual TLS off: the request's marker was seen between the nodes")
	if err := s.apply(ctx, "canary/subsets.yaml"); err != nil {
		return err
	}
	if err := eventually(ctx, settleLimit, s.mutual); err != nil {
		return err
	}
	return s.hidden(ctx)
}

// hidden wants no marker between the nodes. A capture that missed packets proves nothing, and is repeated.
func (s *Stage) hidden(ctx context.Context) error {
	for try := 1; ; try++ {
		marker, found, err := s.marker(ctx, "behind-mtls")
		if errors.Is(err, errDropped) && try < 3 {
			s.Saw("%v: once more", err)
			continue
		}
		if err != nil {
			return err
		}
		s.showMarker(marker)
		if found {
			return fmt.Errorf("with mutual TLS on the marker was seen between the nodes")
		}
		s.Saw("mutual TLS on: 60 requests later it was not, and the capture missed no packet")
		return nil
	}
}

// showMarker prints what a reader does to look for a marker.
func (s *Stage) showMarker(marker string) {
	s.Ran("(cd tests/cluster && go run ./cmd/cluster capture --for 20s %s)   # meanwhile:", marker)
	for _, from := range markerFrom {
		s.asks(from, markerArgs(marker)...)
	}
}

// mutual wants the catalog to see the client's identity again.
func (s *Stage) mutual(ctx context.Context) error {
	for range 5 {
		t, err := s.client(ctx, fromClient, catalogURL+"/items")
		if err != nil {
			return err
		}
		if !strings.Contains(t.Body, clientID) {
			return fmt.Errorf("the catalog does not see the client's identity: %s", t.Body)
		}
	}
	return nil
}

// markerFrom are clients on two nodes: the catalog's pods are on neither's alone.
var markerFrom = []From{fromWorker, fromRoamer}

func markerArgs(marker string) []string {
	return []string{"-n", "30", "-H", "x-marker: " + marker, catalogURL + "/items"}
}

// marker sends requests with a new marker from every node that has a client, and says whether it was readable on the way.
func (s *Stage) marker(ctx context.Context, kind string) (marker string, found bool, err error) {
	marker = unique(kind + "-")
	found, err = s.Capture(ctx, []byte(marker), func() error {
		for _, from := range markerFrom {
			t, err := s.client(ctx, from, markerArgs(marker)...)
			if err != nil {
				return err
			}
			if !t.All("200") {
				return fmt.Errorf("requests with the marker failed: %s", t)
			}
		}
		return nil
	})
	return marker, found, err
}

// strict is claim 3.
func strict(ctx context.Context, s *Stage) error {
	defer s.cleanup(ctx, "mtls/strict.yaml")
	for _, c := range []struct{ sample, want string }{{"mtls/strict.yaml", "error"}, {"mtls/permissive.yaml", "200"}} {
		if err := s.apply(ctx, c.sample); err != nil {
			return err
		}
		plaintext := []string{"-n", "10", "-fresh", catalogURL + "/items"}
		s.asks(fromPlain, plaintext...)
		if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
			t, err := s.client(ctx, fromPlain, plaintext...)
			if err != nil {
				return err
			}
			if !t.All(c.want) {
				return fmt.Errorf("plaintext client: %s, want all %s", t, c.want)
			}
			s.Saw("a plaintext client: %s", t)
			return nil
		}); err != nil {
			return err
		}
		t, err := s.Client(ctx, fromClient, "-n", "10", catalogURL+"/items")
		if err != nil {
			return err
		}
		if !t.All("200") {
			return fmt.Errorf("a client of the mesh: %s, want all 200", t)
		}
		s.Saw("a client of the mesh: %s", t)
	}
	return nil
}

// cleanup removes samples when a claim is done; an error shows in whatever comes next.
func (s *Stage) cleanup(ctx context.Context, paths ...string) {
	for _, p := range paths {
		if err := s.Remove(context.WithoutCancel(ctx), p, ShopNamespace); err != nil {
			s.Saw("removing %s: %v", p, err)
		}
	}
}
