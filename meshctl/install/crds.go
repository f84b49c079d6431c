package install

import (
	"context"
	"fmt"
	"strings"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/manifests"
)

const fieldManager = "meshctl"

// Definition is the state of one custom resource definition in a cluster.
type Definition struct {
	Name  string   `json:"name"`
	Owner string   `json:"owner"` // heddle | other | none: it is not there
	Lacks []string `json:"lacks,omitempty"`
}

// Owners of a definition.
const (
	OwnerHeddle = "heddle"
	OwnerOther  = "other"
	OwnerNone   = "none"
)

// Definitions compares the cluster's definitions with those of this build.
func (i *Installer) Definitions(ctx context.Context) ([]Definition, error) {
	wanted, err := manifests.CRDs(i.options.Version)
	if err != nil {
		return nil, err
	}
	var all []Definition
	for _, want := range wanted {
		have, err := i.cluster.Extensions.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, want.Name, meta.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			all = append(all, Definition{Name: want.Name, Owner: OwnerNone})
		case err != nil:
			return nil, fmt.Errorf("reading definition %s: %w", want.Name, err)
		default:
			all = append(all, Definition{Name: want.Name, Owner: owner(have), Lacks: Lacks(have, want)})
		}
	}
	return all, nil
}

func owner(crd *extensions.CustomResourceDefinition) string {
	if _, ours := crd.Labels[wire.VersionLabel]; ours {
		return OwnerHeddle
	}
	return OwnerOther
}

// definitions installs ours, upgrades ours, and leaves those of others as they are, saying what they lack. All revisions share them: one beside the
// default revision only adds what it misses.
func (i *Installer) definitions(ctx context.Context) error {
	states, err := i.Definitions(ctx)
	if err != nil {
		return err
	}
	wanted, err := manifests.CRDs(i.options.Version)
	if err != nil {
		return err
	}
	applied := 0
	for n, state := range states {
		if state.Owner == OwnerOther {
			if len(state.Lacks) > 0 {
				i.steps.done("definition %s is not Heddle's and stays as it is; it lacks %s", state.Name, brief(state.Lacks))
			}
			continue
		}
		if state.Owner == OwnerHeddle && len(state.Lacks) == 0 && !revision.IsDefault(i.options.Revision) {
			continue // it may be newer than this revision, and have what the others need
		}
		if err := i.applyDefinition(ctx, wanted[n]); err != nil {
			return err
		}
		applied++
	}
	return i.steps.wait(ctx, fmt.Sprintf("%d custom resource definitions established", applied), i.established)
}

func (i *Installer) applyDefinition(ctx context.Context, crd *extensions.CustomResourceDefinition) error {
	body, err := manifests.Manifest(crd)
	if err != nil {
		return err
	}
	force := true
	_, err = i.cluster.Extensions.ApiextensionsV1().CustomResourceDefinitions().Patch(ctx, crd.Name, types.ApplyPatchType, body,
		meta.PatchOptions{FieldManager: fieldManager, Force: &force})
	if err != nil {
		return fmt.Errorf("applying definition %s: %w", crd.Name, err)
	}
	return nil
}

func (i *Installer) established(ctx context.Context) (string, error) {
	list, err := i.cluster.Extensions.ApiextensionsV1().CustomResourceDefinitions().List(ctx, meta.ListOptions{LabelSelector: wire.VersionLabel})
	if err != nil {
		return "", fmt.Errorf("listing definitions: %w", err)
	}
	var waiting []string
	for n := range list.Items {
		if !isEstablished(&list.Items[n]) {
			waiting = append(waiting, list.Items[n].Name)
		}
	}
	if len(waiting) == 0 {
		return "", nil
	}
	return "definitions to be established: " + brief(waiting), nil
}

func isEstablished(crd *extensions.CustomResourceDefinition) bool {
	for _, c := range crd.Status.Conditions {
		if c.Type == extensions.Established {
			return c.Status == extensions.ConditionTrue
		}
	}
	return false
}

// most is how many things a sentence names.
const most = 5

// brief names a few of many.
func brief(names []string) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// purgeDefinitions deletes the definitions that carry our stamp, and with them every object of theirs. One by one: the API server
// forgets the objects of definitions that are deleted as a collection, and shows them again to who installs later.
func (i *Installer) purgeDefinitions(ctx context.Context) error {
	crds := i.cluster.Extensions.ApiextensionsV1().CustomResourceDefinitions()
	ours, err := crds.List(ctx, meta.ListOptions{LabelSelector: wire.VersionLabel})
	if err != nil {
		return fmt.Errorf("listing definitions: %w", err)
	}
	for n := range ours.Items {
		err := crds.Delete(ctx, ours.Items[n].Name, meta.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting definition %s: %w", ours.Items[n].Name, err)
		}
	}
	return i.steps.wait(ctx, "custom resource definitions deleted", func(ctx context.Context) (string, error) {
		left, err := crds.List(ctx, meta.ListOptions{LabelSelector: wire.VersionLabel})
		if err != nil || len(left.Items) == 0 {
			return "", err
		}
		return fmt.Sprintf("%d definitions to be deleted", len(left.Items)), nil
	})
}
