package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
)

// ErrForeignProxies is what CheckProxies returns, wrapped, where running proxies would be cut off.
var ErrForeignProxies = errors.New("proxies that trust another root are running")

// maxNamed is how many pods an error names.
const maxNamed = 3

// CheckProxies refuses a root that running proxies do not trust. Bundle is the PEM that a would publish, empty where a new root
// would be made; published is what each namespace's ConfigMap wire.RootConfigMap holds.
func CheckProxies(bundle []byte, published map[string]string, pods []corev1.Pod) error {
	ours, err := parseCerts(bundle)
	if err != nil {
		return fmt.Errorf("reading the bundle: %w", err)
	}
	known := make(map[string]bool, len(ours))
	for _, cert := range ours {
		known[string(cert.Raw)] = true
	}
	var foreign []string
	for i := range pods {
		text, ok := published[pods[i].Namespace]
		if ok && runsProxy(&pods[i]) && !sharesRoot(text, known) {
			foreign = append(foreign, pods[i].Namespace+"/"+pods[i].Name)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	names := strings.Join(foreign[:min(len(foreign), maxNamed)], ", ")
	return fmt.Errorf("%w: %d pods (%s): restore Secret %s in namespace %s, or delete those pods first", ErrForeignProxies,
		len(foreign), names, wire.RootSecret, wire.SystemNamespace)
}

func sharesRoot(published string, known map[string]bool) bool {
	certs, err := parseCerts([]byte(published))
	if err != nil {
		return false
	}
	for _, cert := range certs {
		if known[string(cert.Raw)] {
			return true
		}
	}
	return false
}

// runsProxy reports whether a pod that has not ended mounts the root.
func runsProxy(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.ConfigMap != nil && volume.ConfigMap.Name == wire.RootConfigMap {
			return true
		}
		if volume.Projected != nil && projectsRoot(volume.Projected) {
			return true
		}
	}
	return false
}

func projectsRoot(p *corev1.ProjectedVolumeSource) bool {
	for _, source := range p.Sources {
		if source.ConfigMap != nil && source.ConfigMap.Name == wire.RootConfigMap {
			return true
		}
	}
	return false
}

// CheckCluster is CheckProxies over what a cluster holds now, for an installer: where the root's Secret exists, its roots count,
// and otherwise any proxy that runs with a published root is foreign.
func CheckCluster(ctx context.Context, cluster kubernetes.Interface) error {
	bundle, err := storedBundle(ctx, cluster)
	if err != nil {
		return err
	}
	maps, err := cluster.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + wire.RootConfigMap})
	if err != nil {
		return fmt.Errorf("listing ConfigMaps %s: %w", wire.RootConfigMap, err)
	}
	published := make(map[string]string, len(maps.Items))
	for _, m := range maps.Items {
		if m.Name == wire.RootConfigMap {
			published[m.Namespace] = m.Data[wire.RootConfigMapKey]
		}
	}
	if len(published) == 0 {
		return nil
	}
	pods, err := allPods(ctx, cluster)
	if err != nil {
		return err
	}
	return CheckProxies(bundle, published, pods)
}

func storedBundle(ctx context.Context, cluster kubernetes.Interface) ([]byte, error) {
	secret, err := cluster.CoreV1().Secrets(wire.SystemNamespace).Get(ctx, wire.RootSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s/%s: %w", wire.SystemNamespace, wire.RootSecret, err)
	}
	var bundle []byte
	for _, key := range []string{KeyCurrentCert, KeyNextCert, KeyRetiredCerts} {
		bundle = append(bundle, secret.Data[key]...)
	}
	return bundle, nil
}

// pageSize keeps the answers of a large cluster small.
const pageSize = 500

func allPods(ctx context.Context, cluster kubernetes.Interface) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := cluster.CoreV1().Pods(metav1.NamespaceAll).List(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("listing pods: %w", err)
		}
		pods = append(pods, page.Items...)
		if page.Continue == "" {
			return pods, nil
		}
		opts.Continue = page.Continue
	}
}
