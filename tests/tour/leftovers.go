package tour

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heddle-mesh/heddle/samples"
)

// Namespaces are those that the demo makes, and the only ones that it changes.
func Namespaces() []string {
	return []string{GatewayNamespace, ShopNamespace, PlainNamespace, OtherNamespace}
}

// rules lists the objects of the mesh that the samples hold: whatever a claim applies, and none of what the shop is made of.
func (c *Cluster) rules() ([]*unstructured.Unstructured, error) {
	paths, err := fs.Glob(samples.FS, "*/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing samples: %w", err)
	}
	var out []*unstructured.Unstructured
	for _, path := range paths {
		if strings.HasSuffix(path, ".values.yaml") {
			continue // a chart's
		}
		if err := c.eachObject(path, ShopNamespace, func(o *unstructured.Unstructured) error {
			if strings.HasSuffix(o.GroupVersionKind().Group, ".istio.io") && slices.Contains(Namespaces(), o.GetNamespace()) {
				out = append(out, o)
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return out, nil
}

// Clear removes what an earlier tour left, however it ended, and waits until the shop is free of it.
func (c *Cluster) Clear(ctx context.Context) error {
	if err := c.clearDesk(ctx); err != nil {
		return err
	}
	rules, err := c.rules()
	if err != nil {
		return err
	}
	found := false
	for _, o := range rules {
		switch err := c.objects.Delete(ctx, o); {
		case err == nil:
			found = true
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("deleting %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
	}
	if !found {
		return nil
	}
	return eventually(ctx, settleLimit, c.free)
}

// free wants the catalog to answer as it does without any rule: to clients of the mesh and to others, from each of its versions.
func (c *Cluster) free(ctx context.Context) error {
	for _, from := range []From{fromClient, fromPlain} {
		t, err := c.client(ctx, from, "-n", "30", "-fresh", catalogURL+"/items")
		if err != nil {
			return err
		}
		if !t.All("200") || len(t.Versions) != 3 {
			return fmt.Errorf("rules of an earlier tour are still in force: %s asks the catalog: %s", from.Name, t)
		}
	}
	return nil
}
