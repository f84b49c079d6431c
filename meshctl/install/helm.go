package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chartcommon "helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
	"helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
)

// history is how many revisions of a release are kept for rollback.
const history = 10

// helm returns Helm's actions for the releases of a namespace, recorded as Helm's own commands record them.
func helm(c *cluster.Cluster, namespace string) (*action.Configuration, error) {
	config := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	if err := config.Init(inNamespace{c.Getter, namespace}, namespace, ""); err != nil {
		return nil, fmt.Errorf("preparing helm: %w", err)
	}
	return config, nil
}

// release installs or upgrades one chart. It does not wait for anything to become ready.
func (i *Installer) release(ctx context.Context, c *chart.Chart, name, namespace string, values map[string]any) error {
	config, err := i.helm(namespace)
	if err != nil {
		return err
	}
	known, err := i.settled(ctx, config, name)
	if err != nil {
		return fmt.Errorf("reading release %s: %w", name, err)
	}
	verb := "installed"
	if known == "" {
		err = i.first(ctx, config, c, name, namespace, values)
	} else {
		verb = "upgraded"
		err = i.again(ctx, config, c, name, namespace, values)
	}
	if err != nil {
		return fmt.Errorf("installing chart %s as release %s: %w", c.Metadata.Name, name, err)
	}
	i.steps.done("release %s/%s %s (chart %s %s)", namespace, name, verb, c.Metadata.Name, c.Metadata.Version)
	return nil
}

// abandoned is the age from which on an operation that is not complete counts as killed. Ours take seconds.
const abandoned = time.Minute

// settled returns the state of the last revision, empty where there is no release. Of an operation that is under way it waits for the
// end; one that was killed would refuse every later attempt, and is removed from the records.
func (i *Installer) settled(ctx context.Context, config *action.Configuration, name string) (state string, err error) {
	for {
		of, err := last(config, name)
		if of == nil || err != nil {
			return "", err
		}
		state, age := of.Status(), time.Since(of.DeployedAt())
		switch {
		case state == "uninstalled":
			return "", nil
		case !strings.HasPrefix(state, "pending-") && state != "uninstalling":
			return state, nil
		case age > abandoned:
			if _, err := config.Releases.Delete(name, of.Version()); err != nil {
				return "", err
			}
			i.steps.done("release %s: removed the record of an operation that never ended (%s)", name, state)
		default:
			i.steps.done("waiting for somebody else's operation on release %s to end (%s)", name, state)
			select {
			case <-ctx.Done():
				return "", fmt.Errorf("somebody else's operation (%s) does not end: %w", state, ctx.Err())
			case <-time.After(reminder / 5):
			}
		}
	}
}

// last returns the last revision of a release, nil where there is none.
func last(config *action.Configuration, name string) (release.Accessor, error) {
	found, err := config.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return release.NewAccessor(found)
}

func (i *Installer) first(ctx context.Context, config *action.Configuration, c *chart.Chart, name, namespace string, values map[string]any) error {
	install := action.NewInstall(config)
	install.ReleaseName, install.Namespace = name, namespace
	install.SkipCRDs, install.Replace = true, true
	install.TakeOwnership, install.ForceConflicts = true, true
	install.WaitStrategy, install.Timeout = kube.HookOnlyStrategy, i.options.Timeout
	install.CreateNamespace = true
	_, err := install.RunWithContext(ctx, c, values)
	return err
}

func (i *Installer) again(ctx context.Context, config *action.Configuration, c *chart.Chart, name, namespace string, values map[string]any) error {
	upgrade := action.NewUpgrade(config)
	upgrade.Namespace, upgrade.MaxHistory = namespace, history
	upgrade.SkipCRDs, upgrade.TakeOwnership, upgrade.ForceConflicts = true, true, true
	upgrade.ResetValues, upgrade.ResetThenReuseValues = i.options.Reset, !i.options.Reset
	upgrade.WaitStrategy, upgrade.Timeout = kube.HookOnlyStrategy, i.options.Timeout
	_, err := upgrade.RunWithContext(ctx, name, c, values)
	return err
}

// gatewayReleases are the releases of the gateway chart in all namespaces, whether pods of theirs run or not.
func (i *Installer) gatewayReleases() ([]releaseName, error) {
	config, err := i.helm("")
	if err != nil {
		return nil, err
	}
	list := action.NewList(config)
	list.AllNamespaces = true
	all, err := list.Run()
	if err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	var out []releaseName
	for _, of := range all {
		r, ok := of.(*releasev1.Release)
		if ok && r.Chart.Metadata.Name == manifests.Gateway && r.Info.Status != common.StatusUninstalled {
			of, _ := r.Config["revision"].(string)
			out = append(out, releaseName{r.Name, r.Namespace, of})
		}
	}
	return out, nil
}

// followed are the settings in which a gateway does as its control plane: it would not get its certificate otherwise, or no image.
func followed() []string {
	return append([]string{"image.tag", "clusterDomain", "clusterID", "certTTL"}, shared()...)
}

// agreed are the settings in which a revision does as the default one: what workloads of both have to agree on to talk to each other, and where images
// come from. Its image's tag is its own: another version is what a revision is for.
func agreed() []string {
	return append([]string{"trustDomainAliases", "clusterDomain", "clusterID", "certTTL", "maxCertTTL"}, shared()...)
}

func shared() []string {
	return []string{"image.registry", "image.pullPolicy", "imagePullSecrets", "trustDomain", "tokenAudience"}
}

// plane returns the release of a control plane and its values with the chart's defaults; nil where there is none.
func (i *Installer) plane(name string) (*releasev1.Release, chartcommon.Values, error) {
	config, err := i.helm(wire.SystemNamespace)
	if err != nil {
		return nil, nil, err
	}
	found, err := config.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading release %s/%s: %w", wire.SystemNamespace, name, err)
	}
	plane, ok := found.(*releasev1.Release)
	if !ok || plane.Chart == nil {
		return nil, nil, nil
	}
	values, err := util.CoalesceValues(plane.Chart, plane.Config)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the values of release %s/%s: %w", wire.SystemNamespace, name, err)
	}
	return plane, values, nil
}

// follow makes settings of an installed control plane the defaults of a chart. They are no values of the release: the next upgrade follows the
// control plane again.
func (i *Installer) follow(c *chart.Chart, of string, paths []string) error {
	plane, values, err := i.plane(of)
	if plane == nil || err != nil {
		return err
	}
	for _, path := range paths {
		value, err := values.PathValue(path)
		if err != nil {
			continue // a control plane of another version may not have it
		}
		if path == "image.tag" && value == "" {
			value = plane.Chart.Metadata.AppVersion
		}
		put(c.Values, value, strings.Split(path, "."))
	}
	return nil
}

// put sets what a path leads to, where the chart has it.
func put(values map[string]any, value any, path []string) {
	if len(path) == 1 {
		if _, known := values[path[0]]; known {
			values[path[0]] = value
		}
		return
	}
	if within, ok := values[path[0]].(map[string]any); ok {
		put(within, value, path[1:])
	}
}

// remove uninstalls a release if it exists and waits until its objects have gone.
func (i *Installer) remove(ctx context.Context, name, namespace string) error {
	config, err := i.helm(namespace)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("release %s/%s", namespace, name)
	of, err := last(config, name)
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	if of == nil {
		return nil
	}
	objects, err := config.KubeClient.Build(strings.NewReader(of.Manifest()), false)
	if err != nil {
		return fmt.Errorf("reading the objects of %s: %w", what, err)
	}
	uninstall := action.NewUninstall(config)
	uninstall.IgnoreNotFound, uninstall.DeletionPropagation = true, "foreground"
	uninstall.WaitStrategy, uninstall.Timeout = kube.HookOnlyStrategy, i.options.Timeout
	if _, err := uninstall.Run(name); err != nil {
		return fmt.Errorf("uninstalling %s: %w", what, err)
	}
	return i.steps.wait(ctx, what+" uninstalled", func(context.Context) (string, error) { return terminating(objects) })
}

// terminating names the objects that are on their way out. Helm's own watcher calls a release gone once every object that it has heard
// of is, which may be the first of several.
func terminating(objects kube.ResourceList) (string, error) {
	var names []string
	for _, o := range objects {
		kind := o.Mapping.GroupVersionKind.Kind
		found, err := resource.NewHelper(o.Client, o.Mapping).Get(o.Namespace, o.Name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("reading %s %s/%s: %w", kind, o.Namespace, o.Name, err)
		}
		object, err := apimeta.Accessor(found)
		if err != nil {
			return "", fmt.Errorf("reading %s %s/%s: %w", kind, o.Namespace, o.Name, err)
		}
		if object.GetDeletionTimestamp() != nil {
			names = append(names, kind+" "+o.Name)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	return strings.Join(names, ", ") + " to end", nil
}
