package install

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	api "k8s.io/apimachinery/pkg/runtime/schema"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	clienttest "k8s.io/client-go/testing"

	"github.com/heddle-mesh/heddle/api/wire"
)

var routes = api.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}

// definition is that of VirtualServices, or of something else in another group.
func definition(group, stamp string) *extensions.CustomResourceDefinition {
	crd := &extensions.CustomResourceDefinition{ObjectMeta: meta.ObjectMeta{Name: routes.Resource + "." + group}, Spec: extensions.CustomResourceDefinitionSpec{
		Group: group, Names: extensions.CustomResourceDefinitionNames{Plural: routes.Resource, Kind: "VirtualService"},
		Versions: []extensions.CustomResourceDefinitionVersion{{Name: "v1alpha3", Served: false}, {Name: "v1", Served: true,
			Subresources: &extensions.CustomResourceSubresources{Status: &extensions.CustomResourceSubresourceStatus{}}}}}}
	if stamp != "" {
		crd.Labels = map[string]string{wire.VersionLabel: stamp}
	}
	return crd
}

func route(group, name string, of map[string]any) *unstructured.Unstructured {
	o := map[string]any{"apiVersion": group + "/v1", "kind": "VirtualService", "metadata": map[string]any{"namespace": "shop", "name": name}}
	if of != nil {
		o["status"] = of
	}
	return &unstructured.Unstructured{Object: o}
}

var (
	ours   = map[string]any{"type": "Accepted", "status": "True", "observedGeneration": int64(3)}
	theirs = map[string]any{"type": "Reconciled", "status": "True", "observedGeneration": int64(2)}
)

// statuses runs removeStatuses over objects and returns what is in their statuses afterwards, and what was said.
func statuses(t *testing.T, purge bool, crd *extensions.CustomResourceDefinition, fail func(*fakedynamic.FakeDynamicClient), objects ...runtime.Object) (map[string]any, int, string) {
	t.Helper()
	i, _, _, out := installer(nil, crd)
	resource := api.GroupVersionResource{Group: crd.Spec.Group, Version: "v1", Resource: routes.Resource}
	client := fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[api.GroupVersionResource]string{resource: "VirtualServiceList"}, objects...)
	if fail != nil {
		fail(client)
	}
	i.cluster.Dynamic, i.steps = client, newProgress(out)
	i.removeStatuses(t.Context(), purge)
	writes := 0
	for _, a := range client.Actions() {
		if a.GetVerb() == "update" && a.GetSubresource() == "status" {
			writes++
		}
	}
	client.ReactionChain = client.ReactionChain[len(client.ReactionChain)-1:]
	list, err := client.Resource(resource).List(context.Background(), meta.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]any{}
	for _, o := range list.Items {
		left[o.GetName()] = o.Object["status"]
	}
	return left, writes, out.String()
}

func TestUninstallTakesItsConditionsAlong(t *testing.T) {
	const group = "networking.istio.io"
	left, writes, said := statuses(t, false, definition(group, "v1"), nil,
		route(group, "alone", map[string]any{"conditions": []any{ours}, "observedGeneration": int64(3)}),
		route(group, "beside", map[string]any{"conditions": []any{theirs, ours}, "observedGeneration": int64(2), "addresses": []any{"kept"}}),
		route(group, "foreign", map[string]any{"conditions": []any{theirs}, "observedGeneration": int64(2)}),
		route(group, "none", nil))
	want := map[string]any{
		"alone":   nil,
		"beside":  map[string]any{"conditions": []any{theirs}, "observedGeneration": int64(2), "addresses": []any{"kept"}},
		"foreign": map[string]any{"conditions": []any{theirs}, "observedGeneration": int64(2)},
		"none":    nil,
	}
	if diff := cmp.Diff(want, left); diff != "" || writes != 2 || !strings.Contains(said, "from 2 objects") {
		t.Errorf("%d writes, said %q, statuses: %s", writes, said, diff)
	}
}

// Conditions of the same name in somebody else's API are somebody else's, and objects that go with their definition need no write.
func TestUninstallLeavesWhatIsNotItsOwn(t *testing.T) {
	full := map[string]any{"conditions": []any{ours}, "observedGeneration": int64(3)}
	for why, c := range map[string]struct {
		group, stamp string
		purge        bool
		writes       int
	}{
		"another API":                          {"gateway.networking.k8s.io", "", false, 0},
		"a definition that goes":               {routes.Group, "v1", true, 0},
		"a definition of somebody, that stays": {routes.Group, "", true, 1},
	} {
		left, writes, _ := statuses(t, c.purge, definition(c.group, c.stamp), nil, route(c.group, "r", full))
		if writes != c.writes || (left["r"] == nil) != (c.writes > 0) {
			t.Errorf("%s: %d writes, left %v", why, writes, left)
		}
	}
}

// A conflict is resolved with what is there now; what may not be written is named and stops nothing.
func TestUninstallAndStatusesThatResist(t *testing.T) {
	full := map[string]any{"conditions": []any{ours}, "observedGeneration": int64(3)}
	failing := func(times int, err error) func(*fakedynamic.FakeDynamicClient) {
		return func(c *fakedynamic.FakeDynamicClient) {
			c.PrependReactor("update", "*", func(clienttest.Action) (bool, runtime.Object, error) {
				times--
				return times >= 0, nil, err
			})
		}
	}
	left, _, said := statuses(t, false, definition(routes.Group, "v1"), failing(1, apierrors.NewConflict(routes.GroupResource(), "r", nil)), route(routes.Group, "r", full))
	if left["r"] != nil || !strings.Contains(said, "from 1 objects") {
		t.Errorf("a conflict: %v, said %q", left, said)
	}
	forbidden := apierrors.NewForbidden(routes.GroupResource(), "r", fmt.Errorf("no"))
	left, _, said = statuses(t, false, definition(routes.Group, "v1"), failing(100, forbidden), route(routes.Group, "r", full))
	if left["r"] == nil || !strings.Contains(said, "kept") || !strings.Contains(said, "VirtualService shop/r") {
		t.Errorf("no right to write: %v, said %q", left, said)
	}
	unreadable := func(c *fakedynamic.FakeDynamicClient) {
		c.PrependReactor("list", "*", func(clienttest.Action) (bool, runtime.Object, error) { return true, nil, forbidden })
	}
	if _, _, said := statuses(t, false, definition(routes.Group, "v1"), unreadable, route(routes.Group, "r", full)); !strings.Contains(said, "kept") {
		t.Errorf("no right to read: said %q", said)
	}
	gone := func(c *fakedynamic.FakeDynamicClient) {
		c.PrependReactor("list", "*", func(clienttest.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewNotFound(routes.GroupResource(), "")
		})
	}
	if _, _, said := statuses(t, false, definition(routes.Group, "v1"), gone); strings.Contains(said, "kept") {
		t.Errorf("a definition that goes away: said %q", said)
	}
}
