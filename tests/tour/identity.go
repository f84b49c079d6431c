package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

const (
	catalogURL  = "http://catalog.shop:8080"
	identityTD  = "spiffe://cluster.local/ns/"
	clientID    = identityTD + "shop/sa/client"
	catalogID   = identityTD + "shop/sa/catalog"
	settleLimit = 20 * time.Second
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
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "errand", Namespace: ShopNamespace}, Spec: batchv1.JobSpec{BackoffLimit: &none, Template: corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "errand"}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, ServiceAccountName: "client",
			Containers: []corev1.Container{{Name: "errand", Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"client", "-n", "3", catalogURL + "/items"}}}}}}}
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
	s.Saw("the client's proxy verified: istio_requests_total{destination_principal=%q} %v + 1", catalogID, seen[0].before)
	if err := s.impostor(ctx); err != nil {
		return err
	}
	return s.wire(ctx)
}

// impostor makes the client expect another account's identity: a valid certificate of the mesh is not enough. The refusal must be the
// client's proxy's own, for the name in the certificate.
func (s *Stage) impostor(ctx context.Context) error {
	rule := `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: catalog, namespace: shop}, spec: {host: catalog, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["` + identityTD + `shop/sa/storefront"]}}}}`
	if err := s.EachYAML([]byte(rule), "", s.applyIn(ctx)); err != nil {
		return err
	}
	defer s.restore(ctx)
	var line string
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
		path := unique("/items?impostor=")
		t, err := s.client(ctx, fromClient, catalogURL+path)
		if err != nil {
			return err
		}
		if !t.All("503") {
			return fmt.Errorf("a server with another account's certificate was accepted: %s", t)
		}
		if line, err = s.logLine(ctx, "app=client", path, "refusing server "+catalogID); err != nil {
			return err
		}
		if flags := strings.Fields(line[strings.Index(line, path):]); len(flags) < 4 || !strings.HasPrefix(flags[3], "UF") {
			return fmt.Errorf("the refusal does not have the flag UF: %s", line)
		}
		s.Saw("expecting another account's identity from the catalog: %s; the client's proxy: %s", t, line)
		return nil
	}); err != nil {
		return err
	}
	s.restore(ctx)
	if err := eventually(ctx, settleLimit, s.mutual); err != nil {
		return err
	}
	s.Saw("expecting its own again: 200")
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
	if err := s.Sample(ctx, "mtls/off.yaml", ShopNamespace); err != nil {
		return err
	}
	defer s.restore(ctx)
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
		found, err := s.marker(ctx, "in-the-clear")
		if err == nil && !found {
			err = fmt.Errorf("with mutual TLS off the marker was not seen between the nodes")
		}
		return err
	}); err != nil {
		return err
	}
	s.Ran("kubectl -n shop exec deploy/client-worker -c client -- /shop client -n 30 -H 'x-marker: ...' %s/items   # and from roamer", catalogURL)
	s.Saw("mutual TLS off: the request's marker was seen between the nodes")
	s.restore(ctx)
	if err := eventually(ctx, settleLimit, s.mutual); err != nil {
		return err
	}
	found, err := s.marker(ctx, "behind-mtls")
	if err != nil {
		return err
	}
	if found {
		return fmt.Errorf("with mutual TLS on the marker was seen between the nodes")
	}
	s.Saw("mutual TLS on: 60 requests later it was not")
	return nil
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

// marker sends requests with a marker from every node that has a client, and says whether it was readable on the way.
func (s *Stage) marker(ctx context.Context, marker string) (bool, error) {
	marker = fmt.Sprintf("%s-%d", marker, time.Now().UnixNano())
	found, err := s.Capture(ctx, []byte(marker), func() error {
		for _, from := range []From{fromWorker, fromRoamer} {
			t, err := s.client(ctx, from, "-n", "30", "-H", "x-marker: "+marker, catalogURL+"/items")
			if err != nil {
				return err
			}
			if !t.All("200") {
				return fmt.Errorf("requests with the marker failed: %s", t)
			}
		}
		return nil
	})
	return found, err
}

// strict is claim 3.
func strict(ctx context.Context, s *Stage) error {
	defer s.cleanup(ctx, "mtls/strict.yaml")
	for _, c := range []struct{ sample, want string }{{"mtls/strict.yaml", "error"}, {"mtls/permissive.yaml", "200"}} {
		s.Ran("kubectl apply -f samples/%s", c.sample)
		if err := s.Sample(ctx, c.sample, ShopNamespace); err != nil {
			return err
		}
		if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
			t, err := s.client(ctx, fromPlain, "-n", "10", "-fresh", catalogURL+"/items")
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
