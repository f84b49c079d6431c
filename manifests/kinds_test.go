package manifests_test

import (
	"slices"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	rbac "k8s.io/api/rbac/v1"

	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// Whatever kind pilot has an opinion about, it is asked when an object is applied, reads the objects that are there, and may write their status, where they have one.
func TestEveryKindIsJudged(t *testing.T) {
	validator := as[admission.ValidatingWebhookConfiguration](t, render(t, manifests.ControlPlane, ""), "ValidatingWebhookConfiguration heddle-validator")
	role := as[rbac.ClusterRole](t, render(t, manifests.Base, ""), "ClusterRole heddle-control-plane")
	holds := func(verb, group, resource string) bool {
		return slices.ContainsFunc(role.Rules, func(r rbac.PolicyRule) bool {
			return slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb)
		})
	}
	var rules []admission.RuleWithOperations
	for _, hook := range validator.Webhooks {
		rules = append(rules, hook.Rules...)
	}
	for _, k := range inputs.Kinds() {
		asked := slices.ContainsFunc(rules, func(r admission.RuleWithOperations) bool {
			return slices.Contains(r.APIGroups, k.Group) && (slices.Contains(r.Resources, "*") || slices.Contains(r.Resources, k.Resource)) &&
				slices.Contains(r.Operations, admission.Create) && slices.Contains(r.Operations, admission.Update)
		})
		if !asked {
			t.Errorf("%s is applied without being judged", k.Kind)
		}
		if !holds("watch", k.Group, k.Resource) || !holds("list", k.Group, k.Resource) || !k.Global && !holds("update", k.Group, k.Resource+"/status") {
			t.Errorf("%s: the control plane may not read it or not say what became of it", k.Kind)
		}
	}
}
