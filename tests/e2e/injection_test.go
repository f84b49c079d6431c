package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
)

// dryRun asks the API server, and so the webhook, what would become of a pod.
func dryRun(ctx context.Context, kube kubernetes.Interface, ns string, pod *corev1.Pod) (*corev1.Pod, error) {
	return kube.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
}

func containers(pod *corev1.Pod) string {
	var names []string
	for _, c := range pod.Spec.InitContainers {
		names = append(names, c.Name)
	}
	names = append(names, "|")
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

func TestWhoIsInjected(t *testing.T) {
	kube := clientset(t)
	labelled := scratch(t, kube, map[string]string{wire.InjectionLabel: "enabled"})
	plain := scratch(t, kube, nil)
	strict := scratch(t, kube, map[string]string{wire.InjectionLabel: "enabled", "pod-security.kubernetes.io/enforce": "baseline"})
	const injected, left = "heddle-redirect heddle-proxy setup | app", "setup | app"
	for _, c := range []struct {
		why, ns     string
		labels      map[string]string
		annotations map[string]string
		want        string // containers, or a part of the refusal
	}{
		{"a labelled namespace", labelled, nil, nil, injected},
		{"a pod that says no", labelled, map[string]string{wire.PodInjectLabel: "false"}, nil, left},
		{"a namespace without label", plain, nil, nil, left},
		{"a pod that says yes", plain, map[string]string{wire.PodInjectLabel: "true"}, nil, injected},
		{"an ordinary sidecar", labelled, nil, map[string]string{wire.AnnotationNativeSidecar: "false"}, "setup heddle-redirect | heddle-proxy app"},
		{"another mesh's pod", labelled, map[string]string{"istio.io/rev": "x"}, nil, left},
		{"a mistake", labelled, nil, map[string]string{"sidecar.istio.io/proxyCPU": "many"}, "annotation sidecar.istio.io/proxyCPU"},
		{"a namespace that forbids NET_ADMIN", strict, nil, nil, "NET_ADMIN"},
	} {
		pod := nowhere("asks")
		pod.Labels, pod.Annotations = c.labels, c.annotations
		pod.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: "none"}}
		out, err := dryRun(t.Context(), kube, c.ns, pod)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = containers(out)
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
}

// Injection must not stand in the way of anything but new pods.
func TestInjectionLeavesTheRestAlone(t *testing.T) {
	kube := clientset(t)
	ns := scratch(t, kube, map[string]string{wire.InjectionLabel: "enabled"})
	pods := kube.CoreV1().Pods(ns)
	pod := nowhere("stays")
	pod.Labels = map[string]string{wire.PodInjectLabel: "false"}
	if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"metadata":{"labels":{"sidecar.heddle.io/inject":"nonsense"},"annotations":{"sidecar.istio.io/proxyCPU":"many"}}}`)
	if _, err := pods.Patch(t.Context(), "stays", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Errorf("an update: %v", err)
	}
	if err := pods.Delete(t.Context(), "stays", metav1.DeleteOptions{}); err != nil {
		t.Errorf("a deletion: %v", err)
	}
}

func TestTrustIsRestored(t *testing.T) {
	kube := clientset(t)
	ns := scratch(t, kube, nil)
	maps := kube.CoreV1().ConfigMaps(ns)
	var root string
	published := func() error {
		m, err := maps.Get(t.Context(), wire.RootConfigMap, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if text := m.Data[wire.RootConfigMapKey]; root == "" {
			root = text
		} else if text != root {
			return errors.New("the ConfigMap holds something else")
		}
		return nil
	}
	eventually(t, t.Context(), 30*time.Second, published)
	if !strings.Contains(root, "BEGIN CERTIFICATE") {
		t.Fatalf("published is %q", root)
	}
	if _, err := maps.Patch(t.Context(), wire.RootConfigMap, types.MergePatchType, []byte(`{"data":{"root-cert.pem":"evil"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, t.Context(), 30*time.Second, published)
	if err := maps.Delete(t.Context(), wire.RootConfigMap, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	eventually(t, t.Context(), 30*time.Second, published)

	webhooks := kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	list, err := webhooks.List(t.Context(), metav1.ListOptions{LabelSelector: "app=heddled"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d webhook configurations (%v)", len(list.Items), err)
	}
	name := list.Items[0].Name
	evil := []byte(`[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"AAAA"}]`)
	if _, err := webhooks.Patch(t.Context(), name, types.JSONPatchType, evil, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, t.Context(), 30*time.Second, func() error {
		config, err := webhooks.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, w := range config.Webhooks {
			if string(w.ClientConfig.CABundle) != root {
				return errors.New("webhook " + w.Name + " has another caBundle")
			}
		}
		return nil
	})
}
