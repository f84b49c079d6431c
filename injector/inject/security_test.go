package inject_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
)

// restrictedPod is one that breaks no rule of pod security.
func restrictedPod() *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{Name: "app", SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
	}}
}

// violations asks pod security's own evaluator.
func violations(t *testing.T, pod *corev1.Pod, level api.Level) []policy.CheckResult {
	t.Helper()
	evaluator := must(policy.NewEvaluator(policy.DefaultChecks(), nil))
	var out []policy.CheckResult
	for _, r := range evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !r.Allowed {
			out = append(out, r)
		}
	}
	return out
}

func TestPodSecurity(t *testing.T) {
	for _, native := range []bool{true, false} {
		before := restrictedPod()
		if n := len(violations(t, before, api.LevelRestricted)); n != 0 {
			t.Fatalf("the pod itself breaks %d rules", n)
		}
		p := params(options{Ordinary: !native})
		result := must(inject.Inject(inject.Request{Pod: before, Namespace: "shop", NamespaceLabels: map[string]string{wire.InjectionLabel: "enabled"}}, p))

		baseline := violations(t, result.Pod, api.LevelBaseline)
		if len(baseline) != 1 || !strings.Contains(baseline[0].ForbiddenDetail, "NET_ADMIN") || !strings.Contains(baseline[0].ForbiddenDetail, wire.RedirectContainer) {
			t.Errorf("native %t: baseline finds %+v, want NET_ADMIN in %s and nothing else", native, baseline, wire.RedirectContainer)
		}
		// At restricted, its being root counts too: Kubernetes gives capabilities to no other user.
		for _, v := range violations(t, result.Pod, api.LevelRestricted) {
			if !strings.Contains(v.ForbiddenDetail, wire.RedirectContainer) || strings.Contains(v.ForbiddenDetail, wire.ProxyContainer) || strings.Contains(v.ForbiddenDetail, `"app"`) {
				t.Errorf("native %t: restricted finds %s: %s", native, v.ForbiddenReason, v.ForbiddenDetail)
			}
		}
		withoutRedirect(result.Pod)
		if left := violations(t, result.Pod, api.LevelRestricted); len(left) != 0 {
			t.Errorf("native %t: beside the redirection, restricted finds %+v", native, left)
		}
	}
}

func withoutRedirect(pod *corev1.Pod) {
	var kept []corev1.Container
	for _, c := range pod.Spec.InitContainers {
		if c.Name != wire.RedirectContainer {
			kept = append(kept, c)
		}
	}
	pod.Spec.InitContainers = kept
}
