package main

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// TestValidationIsClosedByItsOwnRefusalOnly holds what is taken for a webhook that the API server reaches: its own refusal of an object that is made in a dry run.
func TestValidationIsClosedByItsOwnRefusalOnly(t *testing.T) {
	denied := errors.New(`admission webhook "validator.heddle.dev" denied the request: annotation`)
	for _, c := range []struct {
		says     string
		answer   error
		snapshot *model.Snapshot
		refuses  bool
		fails    bool
	}{
		{says: "our refusal", answer: denied, snapshot: &model.Snapshot{}, refuses: true},
		{says: "nobody answers, and all passes", snapshot: &model.Snapshot{}},
		{says: "another's refusal", answer: errors.New(`admission webhook "validation.istio.io" denied the request: bad`), snapshot: &model.Snapshot{}, fails: true},
		{says: "nothing is known of the mesh yet", answer: denied},
		{says: "an istiod runs", answer: denied, snapshot: &model.Snapshot{BesideIstio: true}},
	} {
		writer := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithInterceptorFuncs(interceptor.Funcs{
			Create: func(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if len(opts) != 1 || opts[0] != client.CreateOption(client.DryRunAll) || o.GetNamespace() != "default" {
					t.Errorf("%s: it is made in earnest", c.says)
				}
				return c.answer
			}}).Build()
		refuses, err := closing(writer, func() *model.Snapshot { return c.snapshot }).Refuses(t.Context())
		if refuses != c.refuses || (err != nil) != c.fails {
			t.Errorf("%s: refuses %v, %v", c.says, refuses, err)
		}
	}
}
