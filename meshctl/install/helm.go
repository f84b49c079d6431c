package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
	"helm.sh/helm/v4/pkg/storage/driver"

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
func (i *Installer) release(ctx context.Context, chartName, name, namespace string, values map[string]any) error {
	c, err := manifests.Chart(chartName, i.options.Version)
	if err != nil {
		return err
	}
	config, err := helm(i.cluster, namespace)
	if err != nil {
		return err
	}
	known, err := status(config, name)
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
		return fmt.Errorf("installing chart %s as release %s: %w", chartName, name, err)
	}
	i.steps.done("release %s/%s %s (chart %s %s)", namespace, name, verb, chartName, c.Metadata.Version)
	return nil
}

// status returns the state of the last revision, empty where there is no release. One that was never completed (its installer was
// killed) counts as none and is removed: it would refuse every later attempt.
func status(config *action.Configuration, name string) (string, error) {
	last, err := config.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	of, err := release.NewAccessor(last)
	if err != nil {
		return "", err
	}
	switch state := of.Status(); state {
	case "pending-install", "pending-upgrade", "pending-rollback":
		if _, err := config.Releases.Delete(name, of.Version()); err != nil {
			return "", err
		}
		return status(config, name)
	case "uninstalling", "uninstalled":
		return "", nil
	default:
		return state, nil
	}
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

// remove uninstalls a release if it exists and waits until its objects have gone.
func (i *Installer) remove(name, namespace string) error {
	config, err := helm(i.cluster, namespace)
	if err != nil {
		return err
	}
	uninstall := action.NewUninstall(config)
	uninstall.IgnoreNotFound, uninstall.DeletionPropagation = true, "foreground"
	uninstall.WaitStrategy, uninstall.Timeout = kube.StatusWatcherStrategy, i.options.Timeout
	gone, err := uninstall.Run(name)
	if err != nil {
		return fmt.Errorf("uninstalling release %s/%s: %w", namespace, name, err)
	}
	if gone != nil {
		i.steps.done("release %s/%s uninstalled", namespace, name)
	}
	return nil
}
