package install

import (
	"context"
	"strings"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	api "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/heddle-mesh/heddle/pilot/status"
)

// removeStatuses takes what the control plane wrote out of the statuses of the mesh's objects, and leaves what others wrote. Objects that are about
// to go with their definition are left. A status that cannot be written does no harm: it is named, and the uninstallation goes on.
func (i *Installer) removeStatuses(ctx context.Context, purge bool) {
	crds, err := i.cluster.Extensions.ApiextensionsV1().CustomResourceDefinitions().List(ctx, meta.ListOptions{})
	if err != nil {
		i.steps.done("kept: what the control plane wrote into statuses; listing definitions: %v", err)
		return
	}
	cleaned, kept := 0, []string(nil)
	for n := range crds.Items {
		crd := &crds.Items[n]
		version := withStatus(crd)
		if !strings.HasSuffix(crd.Spec.Group, ".istio.io") || version == "" || purge && owner(crd) == OwnerHeddle {
			continue
		}
		kind := i.cluster.Dynamic.Resource(api.GroupVersionResource{Group: crd.Spec.Group, Version: version, Resource: crd.Spec.Names.Plural})
		list, err := kind.List(ctx, meta.ListOptions{})
		if err != nil {
			if !apierrors.IsNotFound(err) {
				kept = append(kept, crd.Name+": "+err.Error())
			}
			continue
		}
		for n := range list.Items {
			o := &list.Items[n]
			switch changed, err := cleanStatus(ctx, kind.Namespace(o.GetNamespace()), o); {
			case err != nil:
				kept = append(kept, crd.Spec.Names.Kind+" "+o.GetNamespace()+"/"+o.GetName()+": "+err.Error())
			case changed:
				cleaned++
			}
		}
	}
	i.steps.done("conditions deleted from %d objects", cleaned)
	if len(kept) > 0 {
		i.steps.done("kept: conditions of the control plane in statuses that cannot be written: %s", brief(kept))
	}
}

// withStatus is a served version of a definition whose objects have a status of its own; empty where there is none.
func withStatus(crd *extensions.CustomResourceDefinition) string {
	for _, v := range crd.Spec.Versions {
		if v.Served && v.Subresources != nil && v.Subresources.Status != nil {
			return v.Name
		}
	}
	return ""
}

// cleanStatus writes an object's status without Heddle's part, if it has one.
func cleanStatus(ctx context.Context, objects dynamic.ResourceInterface, o *unstructured.Unstructured) (changed bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if changed = withoutOurs(o); !changed {
			return nil
		}
		_, err := objects.UpdateStatus(ctx, o, meta.UpdateOptions{FieldManager: fieldManager})
		if apierrors.IsConflict(err) {
			if now, again := objects.Get(ctx, o.GetName(), meta.GetOptions{}); again == nil {
				o = now
			}
		}
		return err
	})
	if apierrors.IsNotFound(err) { // the object has gone
		return false, nil
	}
	return changed, err
}

// withoutOurs takes Heddle's conditions out of an object's status, and the observed generation that it wrote with them.
func withoutOurs(o *unstructured.Unstructured) bool {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return false // none of ours looks like that
	}
	group, _, _ := strings.Cut(o.GetAPIVersion(), "/")
	var others []any
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		kind, _ := m["type"].(string)
		if !status.Ours(group, kind) {
			others = append(others, c)
			continue
		}
		if seen, ok, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "observedGeneration"); ok && seen == m["observedGeneration"] {
			unstructured.RemoveNestedField(o.Object, "status", "observedGeneration")
		}
	}
	if len(others) == len(conditions) {
		return false
	}
	unstructured.RemoveNestedField(o.Object, "status", "conditions")
	if len(others) > 0 {
		_ = unstructured.SetNestedSlice(o.Object, others, "status", "conditions") // it was one
	}
	if left, ok := o.Object["status"].(map[string]any); ok && len(left) == 0 {
		delete(o.Object, "status")
	}
	return true
}
