// Package install puts Heddle into a cluster and takes it out again: definitions beside Helm, everything else as Helm releases of
// the charts in manifests. It refuses what would cut running proxies off, and it never changes definitions that another owns.
package install

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"helm.sh/helm/v4/pkg/action"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	psa "k8s.io/pod-security-admission/api"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
)

// The releases of an installation. Those of a revision have its name behind theirs.
const (
	BaseRelease = "heddle-base"
	Release     = "heddle"
)

// createdLabel marks a namespace that the installer made, and that it may therefore delete.
const createdLabel = "heddle.dev/created-by"

// Options say what to install.
type Options struct {
	Version  string         // of this build: it stamps charts and definitions
	Revision string         // the control plane that is meant; empty: the default one
	Values   map[string]any // of the control-plane chart
	Reset    bool           // forget the values of an earlier installation; otherwise Values are laid over them
	Timeout  time.Duration  // for everything to become ready
	Out      io.Writer      // what happens, for people
}

// Installer installs into one cluster.
type Installer struct {
	cluster *cluster.Cluster
	options Options
	steps   *progress
	// helm are Helm's actions for the releases of a namespace; "" lists those of all.
	helm func(namespace string) (*action.Configuration, error)
}

// New returns an Installer.
func New(c *cluster.Cluster, o Options) *Installer {
	return &Installer{cluster: c, options: o, steps: newProgress(o.Out), helm: func(namespace string) (*action.Configuration, error) { return helm(c, namespace) }}
}

// Install installs or upgrades Heddle and returns once a pod would be injected.
func (i *Installer) Install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, i.options.Timeout)
	defer cancel()
	if err := i.mayInstall(ctx); err != nil {
		return err
	}
	if err := i.foreignProxies(ctx); err != nil {
		return err
	}
	if err := i.namespace(ctx); err != nil {
		return err
	}
	if err := i.definitions(ctx); err != nil {
		return err
	}
	if err := i.releases(ctx); err != nil {
		return err
	}
	if err := i.deploymentReady(ctx, wire.SystemNamespace, i.named(wire.DiscoveryService)); err != nil {
		return err
	}
	if err := i.webhooksTrusted(ctx); err != nil {
		return err
	}
	return i.injectionWorks(ctx)
}

// releases installs or upgrades the charts of the control plane.
func (i *Installer) releases(ctx context.Context) error {
	base, values := map[string]any(nil), i.options.Values
	if !revision.IsDefault(i.options.Revision) {
		base, values = i.ofRevision(nil), i.ofRevision(values)
	}
	for _, r := range []struct {
		chart, name string
		values      map[string]any
	}{{manifests.Base, BaseRelease, base}, {manifests.ControlPlane, Release, values}} {
		c, err := manifests.Chart(r.chart, i.options.Version)
		if err != nil {
			return err
		}
		if r.chart == manifests.ControlPlane && !revision.IsDefault(i.options.Revision) {
			if err := i.follow(c, Release, agreed()); err != nil {
				return err
			}
		}
		if err := i.release(ctx, c, i.named(r.name), wire.SystemNamespace, r.values); err != nil {
			return err
		}
	}
	return nil
}

// Gateway installs or upgrades a gateway and returns once its pods are ready. What both have to agree on, and the image, is
// the control plane's where no value says otherwise.
func (i *Installer) Gateway(ctx context.Context, name, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, i.options.Timeout)
	defer cancel()
	c, err := manifests.Chart(manifests.Gateway, i.options.Version)
	if err != nil {
		return err
	}
	values := i.options.Values
	of, err := i.gatewayRevision(name, namespace)
	if err != nil {
		return err
	}
	if i.options.Revision != "" {
		if err := i.installed(ctx, of); err != nil {
			return err
		}
		values = i.ofRevision(values)
	}
	if err := i.follow(c, revision.Name(Release, of), followed()); err != nil {
		return err
	}
	if err := i.release(ctx, c, name, namespace, values); err != nil {
		return err
	}
	return i.deploymentReady(ctx, namespace, name)
}

// gatewayRevision is the revision that is meant, or else the one that the gateway has been of.
func (i *Installer) gatewayRevision(name, namespace string) (string, error) {
	if said, ok := i.options.Values["revision"].(string); ok || i.options.Revision != "" || i.options.Reset {
		return cmp.Or(i.options.Revision, said), nil
	}
	all, err := i.gatewayReleases()
	if err != nil {
		return "", err
	}
	for _, g := range all {
		if g.name == name && g.namespace == namespace {
			return g.revision, nil
		}
	}
	return "", nil
}

// foreignProxies refuses where proxies run that would not trust the root of this installation: one that is there, or one that is to
// be made. Of proxies whose published root went with an earlier installation, only the stored root can tell that it is theirs.
func (i *Installer) foreignProxies(ctx context.Context) error {
	if err := authority.CheckCluster(ctx, i.cluster.Kube); err != nil {
		return err
	}
	_, err := i.cluster.Kube.CoreV1().Secrets(wire.SystemNamespace).Get(ctx, wire.RootSecret, meta.GetOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading Secret %s/%s: %w", wire.SystemNamespace, wire.RootSecret, err)
	}
	pods, err := i.cluster.Kube.CoreV1().Pods(meta.NamespaceAll).List(ctx, meta.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	var names []string
	for n := range pods.Items {
		if pod := &pods.Items[n]; pod.Status.Phase == core.PodRunning && (pod.Annotations[wire.StatusAnnotation] != "" || pod.Labels[gatewayLabel] != "") {
			names = append(names, pod.Namespace+"/"+pod.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d pods (%s) have the root of an earlier installation, which is not there any more: delete those pods first", authority.ErrForeignProxies, len(names), brief(names))
}

// namespace makes the control plane's own namespace, which admits restricted pods only.
func (i *Installer) namespace(ctx context.Context) error {
	namespaces := i.cluster.Kube.CoreV1().Namespaces()
	_, err := namespaces.Get(ctx, wire.SystemNamespace, meta.GetOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading namespace %s: %w", wire.SystemNamespace, err)
	}
	ns := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: wire.SystemNamespace, Labels: map[string]string{
		createdLabel:          "meshctl",
		psa.EnforceLevelLabel: string(psa.LevelRestricted),
		psa.WarnLevelLabel:    string(psa.LevelRestricted),
	}}}
	if _, err := namespaces.Create(ctx, ns, meta.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making namespace %s: %w", wire.SystemNamespace, err)
	}
	i.steps.done("namespace %s made", wire.SystemNamespace)
	return nil
}
