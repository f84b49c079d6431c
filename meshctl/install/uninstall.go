package install

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/revision"
)

// ErrInUse is what Uninstall returns, wrapped, where pods still depend on the control plane.
var ErrInUse = errors.New("the mesh is in use")

// gatewayLabel marks the pods of the gateway chart with their release.
const gatewayLabel = "heddle.dev/gateway"

// Removal says how far an uninstallation goes.
type Removal struct {
	Force bool // even while pods with proxies run; gateways go too
	Purge bool // the root, the definitions and every object of theirs too
}

// Uninstall takes Heddle out of the cluster: webhooks first, so that nothing is refused on the way. Where a revision is meant, it takes out that one
// alone.
func (i *Installer) Uninstall(ctx context.Context, r Removal) error {
	ctx, cancel := context.WithTimeout(ctx, i.options.Timeout)
	defer cancel()
	if !revision.IsDefault(i.options.Revision) {
		return i.uninstallRevision(ctx, r)
	}
	gateways, err := i.inUse(ctx, r.Force)
	if err != nil {
		return err
	}
	if err := i.removeWebhooks(ctx); err != nil {
		return err
	}
	if err := i.removeRevisions(ctx); err != nil {
		return err
	}
	for _, g := range gateways {
		if err := i.remove(ctx, g.name, g.namespace); err != nil {
			return err
		}
	}
	for _, name := range []string{Release, BaseRelease} {
		if err := i.remove(ctx, name, wire.SystemNamespace); err != nil {
			return err
		}
	}
	if err := i.controlPlaneGone(ctx); err != nil {
		return err
	}
	if err := i.removeLeftovers(ctx); err != nil {
		return err
	}
	i.removeStatuses(ctx, r.Purge)
	if r.Purge {
		if err := i.purgeDefinitions(ctx); err != nil {
			return err
		}
	}
	return i.removeNamespace(ctx, r.Purge)
}

// RemoveGateway uninstalls a gateway's release.
func (i *Installer) RemoveGateway(ctx context.Context, name, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, i.options.Timeout)
	defer cancel()
	return i.remove(ctx, name, namespace)
}

// releaseName is a gateway's release; revision is the control plane's that it is for, empty: the default one.
type releaseName struct{ name, namespace, revision string }

// removeRevisions takes out the revisions beside the default one, and their tags.
func (i *Installer) removeRevisions(ctx context.Context) error {
	all, err := i.Revisions(ctx)
	if err != nil {
		return err
	}
	for _, of := range slices.Sorted(maps.Keys(all)) {
		if of == wire.DefaultRevision {
			continue
		}
		if err := i.removeRevision(ctx, of); err != nil {
			return err
		}
	}
	return nil
}

// inUse refuses while pods with proxies run or gateways are installed, unless forced, and names the gateways.
func (i *Installer) inUse(ctx context.Context, force bool) ([]releaseName, error) {
	gateways, err := i.gatewayReleases()
	if err != nil {
		return nil, err
	}
	pods, err := i.cluster.Kube.CoreV1().Pods(meta.NamespaceAll).List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	others, err := i.Revisions(ctx)
	if err != nil {
		return nil, err
	}
	delete(others, wire.DefaultRevision)
	var names, releases []string
	for n := range pods.Items {
		pod := &pods.Items[n]
		_, injected := pod.Annotations[wire.StatusAnnotation]
		if !ended(pod) && (injected || pod.Labels[gatewayLabel] != "") {
			names = append(names, pod.Namespace+"/"+pod.Name)
		}
	}
	for _, g := range gateways {
		releases = append(releases, g.namespace+"/"+g.name)
	}
	switch {
	case force:
		return gateways, nil
	case len(others) > 0:
		return nil, fmt.Errorf("%w: revisions beside the default one need it (%s); uninstall them first, or use --force", ErrInUse, brief(slices.Sorted(maps.Keys(others))))
	case len(names) > 0:
		return nil, fmt.Errorf("%w: %d pods run a proxy (%s); restart them without injection and uninstall the gateways first, or use --force", ErrInUse, len(names), brief(names))
	case len(releases) > 0:
		return nil, fmt.Errorf("%w: %d gateways are installed, though no pod of theirs runs (%s); uninstall them first, or use --force", ErrInUse, len(releases), brief(releases))
	}
	return gateways, nil
}

func ended(pod *core.Pod) bool {
	return pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
}

func (i *Installer) removeWebhooks(ctx context.Context) error {
	admission := i.cluster.Kube.AdmissionregistrationV1()
	err := admission.MutatingWebhookConfigurations().Delete(ctx, InjectorConfiguration, meta.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting webhook configuration %s: %w", InjectorConfiguration, err)
	}
	err = admission.ValidatingWebhookConfigurations().Delete(ctx, ValidatorConfiguration, meta.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting webhook configuration %s: %w", ValidatorConfiguration, err)
	}
	tags, err := i.Tags(ctx)
	if err != nil {
		return err
	}
	for _, t := range tags {
		if err := i.RemoveTag(ctx, t.Name, true); err != nil {
			return err
		}
	}
	i.steps.done("webhooks deleted")
	return nil
}

// controlPlaneGone waits for its last pod, which could still write.
func (i *Installer) controlPlaneGone(ctx context.Context) error {
	return i.steps.wait(ctx, "control plane stopped", func(ctx context.Context) (string, error) {
		pods, err := i.cluster.Kube.CoreV1().Pods(wire.SystemNamespace).List(ctx, meta.ListOptions{LabelSelector: "app=" + i.named(wire.DiscoveryService)})
		if err != nil {
			return "", fmt.Errorf("listing the control plane's pods: %w", err)
		}
		if len(pods.Items) == 0 {
			return "", nil
		}
		return fmt.Sprintf("%d pods of the control plane to end", len(pods.Items)), nil
	})
}

// removeLeftovers deletes what the control plane made itself: the published root, its lease, and what its replicas told each other.
func (i *Installer) removeLeftovers(ctx context.Context) error {
	maps, err := i.cluster.Kube.CoreV1().ConfigMaps(meta.NamespaceAll).List(ctx, meta.ListOptions{FieldSelector: "metadata.name=" + wire.RootConfigMap})
	if err != nil {
		return fmt.Errorf("listing ConfigMaps %s: %w", wire.RootConfigMap, err)
	}
	for n := range maps.Items {
		if maps.Items[n].Name != wire.RootConfigMap {
			continue
		}
		namespace := maps.Items[n].Namespace
		err := i.cluster.Kube.CoreV1().ConfigMaps(namespace).Delete(ctx, wire.RootConfigMap, meta.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting ConfigMap %s/%s: %w", namespace, wire.RootConfigMap, err)
		}
	}
	i.steps.done("the published root deleted from %d namespaces", len(maps.Items))
	if err := i.deleteLease(ctx, ""); err != nil {
		return err
	}
	err = i.cluster.Kube.CoreV1().ConfigMaps(wire.SystemNamespace).Delete(ctx, wire.DistributionConfigMap, meta.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting ConfigMap %s/%s: %w", wire.SystemNamespace, wire.DistributionConfigMap, err)
	}
	return nil
}

// removeNamespace deletes the control plane's namespace where the installer made it and no root is to be kept in it.
func (i *Installer) removeNamespace(ctx context.Context, purge bool) error {
	namespaces, secrets := i.cluster.Kube.CoreV1().Namespaces(), i.cluster.Kube.CoreV1().Secrets(wire.SystemNamespace)
	ns, err := namespaces.Get(ctx, wire.SystemNamespace, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading namespace %s: %w", wire.SystemNamespace, err)
	}
	if purge {
		if err := secrets.Delete(ctx, wire.RootSecret, meta.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting Secret %s/%s: %w", wire.SystemNamespace, wire.RootSecret, err)
		}
	}
	_, err = secrets.Get(ctx, wire.RootSecret, meta.GetOptions{})
	if err == nil {
		i.steps.done("kept: Secret %s/%s (the root), the namespace that holds it, and the custom resource definitions; --purge deletes them",
			wire.SystemNamespace, wire.RootSecret)
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading Secret %s/%s: %w", wire.SystemNamespace, wire.RootSecret, err)
	}
	if ns.Labels[createdLabel] == "" {
		i.steps.done("kept: namespace %s, which was there before", wire.SystemNamespace)
		return nil
	}
	if err := namespaces.Delete(ctx, wire.SystemNamespace, meta.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", wire.SystemNamespace, err)
	}
	return i.steps.wait(ctx, "namespace "+wire.SystemNamespace+" deleted", func(ctx context.Context) (string, error) {
		_, err := namespaces.Get(ctx, wire.SystemNamespace, meta.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return "namespace " + wire.SystemNamespace + " to be deleted", err
	})
}
