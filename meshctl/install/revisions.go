package install

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/revision"
)

// Of returns an Installer that means another revision of the same installation.
func (i *Installer) Of(of string) *Installer {
	other := *i
	other.options.Revision = of
	return &other
}

// named is what an object of the control plane is called in the revision that is meant.
func (i *Installer) named(object string) string { return revision.Name(object, i.options.Revision) }

// ofRevision are values of a chart, of the revision that is meant.
func (i *Installer) ofRevision(values map[string]any) map[string]any {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]any{}
	}
	out["revision"] = i.options.Revision
	return out
}

// Revisions returns the deployments of the control planes in the cluster by the name of their revision, wire.DefaultRevision for the default one.
func (i *Installer) Revisions(ctx context.Context) (map[string]*apps.Deployment, error) {
	list, err := i.cluster.Kube.AppsV1().Deployments(wire.SystemNamespace).List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing deployments of namespace %s: %w", wire.SystemNamespace, err)
	}
	all := map[string]*apps.Deployment{}
	for n := range list.Items {
		d := &list.Items[n]
		if d.Name == wire.DiscoveryService {
			all[wire.DefaultRevision] = d
		} else if of, named := strings.CutPrefix(d.Name, wire.DiscoveryService+"-"); named {
			all[of] = d
		}
	}
	return all, nil
}

// installed refuses a revision that there is no control plane of.
func (i *Installer) installed(ctx context.Context, of string) error {
	all, err := i.Revisions(ctx)
	if err != nil {
		return err
	}
	if all[revision.Label(of)] == nil {
		return fmt.Errorf("revision %s is not installed; there are: %s", revision.Label(of), strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return nil
}

// mayInstall refuses a revision that cannot be, or cannot be yet. The default one comes first: it publishes the root, validates objects and writes
// their status.
func (i *Installer) mayInstall(ctx context.Context) error {
	for _, key := range []string{"revision", "tag"} {
		if _, said := i.options.Values[key]; said {
			return fmt.Errorf("value %s: a revision is chosen by --revision, and meshctl tag makes tags", key)
		}
	}
	of := i.options.Revision
	if revision.IsDefault(of) {
		return nil
	}
	if err := revision.Check(of); err != nil {
		return err
	}
	all, err := i.Revisions(ctx)
	if err != nil {
		return err
	}
	if all[wire.DefaultRevision] == nil {
		return fmt.Errorf("revision %s needs the default revision beside it, which publishes the root, validates objects and writes their status: meshctl install first", of)
	}
	tags, err := i.Tags(ctx)
	if err != nil {
		return err
	}
	for _, t := range tags {
		if t.Name == of {
			return fmt.Errorf("there is a tag %s already, of revision %s: a label could mean either", of, t.Revision)
		}
	}
	return nil
}

// users are what depends on a revision, in words; none: it can go.
func (i *Installer) users(ctx context.Context, of string) ([]string, error) {
	var out []string
	note := func(what string, names []string) {
		if len(names) > 0 {
			out = append(out, fmt.Sprintf("%d %s (%s)", len(names), what, brief(names)))
		}
	}
	pods, err := i.cluster.Kube.CoreV1().Pods(meta.NamespaceAll).List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	note("pods run its proxy", names(pods.Items, func(p *core.Pod) bool {
		by, injected := inject.RevisionOf(p)
		return injected && !ended(p) && revision.Label(by) == of
	}))
	gateways, err := i.gatewayReleases()
	if err != nil {
		return nil, err
	}
	var releases []string
	for _, g := range gateways {
		if revision.Label(g.revision) == of {
			releases = append(releases, g.namespace+"/"+g.name)
		}
	}
	note("gateways are installed for it", releases)
	tags, err := i.Tags(ctx)
	if err != nil {
		return nil, err
	}
	var called []string
	for _, t := range tags {
		if t.Revision == of {
			called = append(called, t.Name)
		}
	}
	note("tags stand for it", called)
	labelled, err := i.labelled(ctx, of)
	note("namespaces are labelled for it, whose pods would start without a proxy", labelled)
	return out, err
}

func names(pods []core.Pod, which func(*core.Pod) bool) []string {
	var out []string
	for n := range pods {
		if which(&pods[n]) {
			out = append(out, pods[n].Namespace+"/"+pods[n].Name)
		}
	}
	return out
}

// labelled are the namespaces of a revision or a tag.
func (i *Installer) labelled(ctx context.Context, of string) ([]string, error) {
	list, err := i.cluster.Kube.CoreV1().Namespaces().List(ctx, meta.ListOptions{LabelSelector: wire.RevisionLabel + "=" + of})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var out []string
	for n := range list.Items {
		out = append(out, list.Items[n].Name)
	}
	return out, nil
}

// uninstallRevision takes one revision out and leaves what all share: the root, the definitions, the namespace.
func (i *Installer) uninstallRevision(ctx context.Context, r Removal) error {
	of := i.options.Revision
	if r.Purge {
		return fmt.Errorf("revision %s: the root and the definitions are the whole mesh's: --purge goes without --revision", of)
	}
	if err := revision.Check(of); err != nil {
		return err
	}
	plane, _, err := i.plane(i.named(Release))
	if err != nil {
		return err
	}
	if plane == nil {
		if err := i.installed(ctx, of); err != nil {
			return err
		}
	}
	users, err := i.users(ctx, of)
	if err != nil {
		return err
	}
	if len(users) > 0 && !r.Force {
		return fmt.Errorf("%w: revision %s: %s; move them to another revision first, or use --force", ErrInUse, of, strings.Join(users, "; "))
	}
	return i.removeRevision(ctx, of)
}

// removeRevision takes a revision out, whoever uses it.
func (i *Installer) removeRevision(ctx context.Context, of string) error {
	tags, err := i.Tags(ctx)
	if err != nil {
		return err
	}
	for _, t := range tags {
		if t.Revision != of {
			continue
		}
		if err := i.RemoveTag(ctx, t.Name, true); err != nil {
			return err
		}
	}
	gateways, err := i.gatewayReleases()
	if err != nil {
		return err
	}
	webhook := revision.Name(InjectorConfiguration, of)
	err = i.cluster.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, webhook, meta.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting webhook configuration %s: %w", webhook, err)
	}
	for _, g := range gateways {
		if g.revision != of {
			continue
		}
		if err := i.remove(ctx, g.name, g.namespace); err != nil {
			return err
		}
	}
	for _, name := range []string{Release, BaseRelease} {
		if err := i.remove(ctx, revision.Name(name, of), wire.SystemNamespace); err != nil {
			return err
		}
	}
	if err := i.Of(of).controlPlaneGone(ctx); err != nil {
		return err
	}
	return i.deleteLease(ctx, of)
}

// deleteLease deletes what the leader of a revision held.
func (i *Installer) deleteLease(ctx context.Context, of string) error {
	lease := revision.Name(wire.LeaderElectionLease, of)
	err := i.cluster.Kube.CoordinationV1().Leases(wire.SystemNamespace).Delete(ctx, lease, meta.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting lease %s: %w", lease, err)
	}
	return nil
}
