package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/install"
)

// enrolled are the namespaces whose pods are injected, by whatever revision.
func (c *Checker) enrolled(ctx context.Context) ([]core.Namespace, error) {
	list, err := c.cluster.Kube.CoreV1().Namespaces().List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(ns core.Namespace) bool {
		said := ns.Labels[wire.InjectionLabel]
		return said != "enabled" && (said != "" || ns.Labels[wire.RevisionLabel] == "")
	}), nil
}

// revisionsOf are the revisions by the names that labels call them by: their own, and tags.
func (c *Checker) revisionsOf(ctx context.Context) (map[string]string, []install.Tag, error) {
	revisions, err := c.install.Revisions(ctx)
	if err != nil {
		return nil, nil, err
	}
	tags, err := c.install.Tags(ctx)
	if err != nil {
		return nil, nil, err
	}
	called := map[string]string{}
	for of := range revisions {
		called[of] = of
	}
	for _, t := range tags {
		called[t.Name] = t.Revision
	}
	return called, tags, nil
}

// revisions looks at what is beside the default revision, and at the labels that choose it.
func (c *Checker) revisions(ctx context.Context) error {
	const name = "revisions"
	all, err := c.install.Revisions(ctx)
	if err != nil {
		return err
	}
	for _, of := range slices.Sorted(maps.Keys(all)) {
		if of == wire.DefaultRevision {
			continue
		}
		if err := c.revision(ctx, of); err != nil {
			return err
		}
	}
	called, tags, err := c.revisionsOf(ctx)
	if err != nil {
		return err
	}
	for _, t := range tags {
		switch {
		case all[t.Revision] == nil:
			c.add(Error, name, "tag %s stands for revision %s, which is not installed: pods of it cannot start", t.Name, t.Revision)
		case !t.Trusted:
			c.add(Error, name, "tag %s does not have the mesh's present root: pods of it cannot start; meshctl tag set %s --revision %s --overwrite", t.Name, t.Name, t.Revision)
		default:
			c.add(OK, name, "tag %s stands for revision %s", t.Name, t.Revision)
		}
	}
	return c.labels(ctx, called)
}

// revision looks at one beside the default one.
func (c *Checker) revision(ctx context.Context, of string) error {
	const name = "revisions"
	i := c.install.Of(of)
	missing, err := i.Untrusted(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		c.add(Error, name, "%s: the control plane's root is missing from %s", of, strings.Join(missing, ", "))
		return nil
	}
	switch err := i.Probe(ctx); {
	case errors.Is(err, install.ErrQuota):
		c.add(Warning, name, "%s: %v", of, err)
	case err != nil:
		c.add(Error, name, "%s: %v", of, cluster.Explain(err))
	default:
		c.add(OK, name, "%s: %s", of, probeSentence)
	}
	return nil
}

// labels looks for namespaces of revisions that there are not.
func (c *Checker) labels(ctx context.Context, called map[string]string) error {
	list, err := c.cluster.Kube.CoreV1().Namespaces().List(ctx, meta.ListOptions{LabelSelector: wire.RevisionLabel})
	if err != nil {
		return fmt.Errorf("listing namespaces: %w", err)
	}
	for n := range list.Items {
		ns := &list.Items[n]
		of := ns.Labels[wire.RevisionLabel]
		switch said := ns.Labels[wire.InjectionLabel]; {
		case said != "":
			c.add(Warning, "revisions", "namespace %s: its label %s=%s comes before %s=%s, which has no effect", ns.Name, wire.InjectionLabel, said, wire.RevisionLabel, of)
		case called[of] == "":
			c.add(Error, "revisions", "namespace %s: there is no revision or tag %s: its pods start without a proxy", ns.Name, of)
		}
	}
	return nil
}

// asking returns what the control planes that namespaces are of use for injections, each asked once. Where one does not say, which other checks tell of,
// an installation's defaults stand for it.
func (c *Checker) asking(ctx context.Context, called map[string]string) func(*core.Namespace) inject.Params {
	known := map[string]inject.Params{}
	return func(ns *core.Namespace) inject.Params {
		of := wire.DefaultRevision
		if ns.Labels[wire.InjectionLabel] == "" {
			of = ns.Labels[wire.RevisionLabel]
		}
		if by := called[of]; by != "" {
			of = by
		}
		p, ok := known[of]
		if !ok {
			var err error
			if p, err = c.injection(ctx, of); err != nil {
				p = inject.DefaultParams("", "")
			}
			known[of] = p
		}
		return p
	}
}

// sentence names the revision of a control plane where it is not the default one.
func sentence(of string) string {
	if revision.IsDefault(of) {
		return ""
	}
	return "revision " + of + ": "
}
