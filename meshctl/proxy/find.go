package proxy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Pod is a pod with a proxy.
type Pod struct{ Namespace, Name string }

func (p Pod) String() string { return p.Name + "." + p.Namespace }

// Find returns the pod that name means: a pod, a pod with its namespace (POD.NAMESPACE), or a Deployment (deploy/NAME), of which it
// takes one that runs.
func Find(ctx context.Context, kube kubernetes.Interface, name, namespace string) (Pod, error) {
	kind, of, isKind := strings.Cut(name, "/")
	if isKind {
		switch kind {
		case "deploy", "deployment", "deployments":
			return ofDeployment(ctx, kube, of, namespace)
		case "pod", "pods":
			name = of
		default:
			return Pod{}, fmt.Errorf("%q: name a pod, or a deployment as deploy/NAME", name)
		}
	}
	pod, err := kube.CoreV1().Pods(namespace).Get(ctx, name, meta.GetOptions{})
	if at := strings.LastIndex(name, "."); err != nil && at > 0 {
		of := name[at+1:]
		if pod, err = kube.CoreV1().Pods(of).Get(ctx, name[:at], meta.GetOptions{}); apierrors.IsNotFound(err) {
			return Pod{}, fmt.Errorf("there is neither pod %s in namespace %s nor pod %s in namespace %s", name[:at], of, name, namespace)
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return Pod{}, fmt.Errorf("there is no pod %s in namespace %s", name, namespace)
	case err != nil:
		return Pod{}, fmt.Errorf("looking for pod %s: %w", name, err)
	}
	return withProxy(pod)
}

func ofDeployment(ctx context.Context, kube kubernetes.Interface, name, namespace string) (Pod, error) {
	d, err := kube.AppsV1().Deployments(namespace).Get(ctx, name, meta.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return Pod{}, fmt.Errorf("there is no deployment %s in namespace %s", name, namespace)
	case err != nil:
		return Pod{}, fmt.Errorf("looking for deployment %s in namespace %s: %w", name, namespace, err)
	}
	selector, err := meta.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return Pod{}, fmt.Errorf("reading the selector of deployment %s/%s: %w", namespace, name, err)
	}
	pods, err := running(ctx, kube, namespace, selector.String())
	if err != nil {
		return Pod{}, err
	}
	if len(pods) == 0 {
		return Pod{}, fmt.Errorf("deployment %s/%s has no pod that runs", namespace, name)
	}
	return withProxy(pods[0])
}

func withProxy(pod *core.Pod) (Pod, error) {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == wire.ProxyContainer {
			return Pod{pod.Namespace, pod.Name}, nil
		}
	}
	return Pod{}, fmt.Errorf("pod %s/%s has no proxy", pod.Namespace, pod.Name)
}

func running(ctx context.Context, kube kubernetes.Interface, namespace, selector string) ([]*core.Pod, error) {
	list, err := kube.CoreV1().Pods(namespace).List(ctx, meta.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing pods of namespace %s: %w", namespace, err)
	}
	var out []*core.Pod
	for n := range list.Items {
		if pod := &list.Items[n]; pod.Status.Phase == core.PodRunning && pod.DeletionTimestamp == nil {
			out = append(out, pod)
		}
	}
	return out, nil
}
