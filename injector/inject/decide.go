package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/heddle-mesh/heddle/api/wire"
)

// decide says whether to inject, and why. The first question that has an answer decides.
func decide(r Request, p Params) (bool, string, error) {
	pod := r.Pod
	switch {
	case pod.Spec.HostNetwork:
		return false, "the pod uses the host's network", nil
	case slices.Contains(p.IgnoredNamespaces, r.Namespace):
		return false, fmt.Sprintf("namespace %s is never injected", r.Namespace), nil
	case isWindows(pod):
		return false, "the pod runs on Windows", nil
	}
	if reason := foreign(pod, p.IstioLabels); reason != "" {
		return false, reason, nil
	}
	if done, err := injected(pod); done || err != nil {
		return false, "the pod is injected already", err
	}
	return wanted(r, p)
}

// wanted asks labels, annotations, selectors and the namespace, in this order.
func wanted(r Request, p Params) (bool, string, error) {
	pod := r.Pod
	for _, source := range []struct {
		kind   string
		values map[string]string
	}{{"label", pod.Labels}, {"annotation", pod.Annotations}} {
		value, ok := source.values[wire.PodInjectLabel]
		if !ok {
			continue
		}
		inject, err := parseBool(value)
		if err != nil {
			return false, "", fmt.Errorf("%s %s: %w", source.kind, wire.PodInjectLabel, err)
		}
		return inject, fmt.Sprintf("the pod's %s %s is %s", source.kind, wire.PodInjectLabel, value), nil
	}
	if inject, reason := askedOfIstio(pod, p.IstioLabels); reason != "" {
		return inject, reason, nil
	}
	never, err := matches(p.NeverInject, pod)
	if err != nil || never {
		return false, "a selector of pods that are never injected matches", err
	}
	always, err := matches(p.AlwaysInject, pod)
	if err != nil || always && !optsOut(r, p) {
		return true, "a selector of pods that are always injected matches", err
	}
	inject, reason := enrolled(r)
	if reason == "" && p.IstioLabels {
		inject, reason = enrolledWithIstio(r)
	}
	if reason == "" {
		reason = fmt.Sprintf("namespace %s has no label %s or %s", r.Namespace, wire.InjectionLabel, wire.RevisionLabel)
	}
	return inject, reason, nil
}

// optsOut reports whether the namespace has its pods left alone, whatever the mesh selects.
func optsOut(r Request, p Params) bool {
	value := r.NamespaceLabels[wire.InjectionLabel]
	return value == "disabled" || value == "" && p.IstioLabels && r.NamespaceLabels[istioInjection] == "disabled"
}

// enrolled asks what the namespace says of injection, and of which revision namespace and pod are. Whether that revision is this control plane's
// is decided by who is asked: tags are other names of it, which it does not know. No reason: they say nothing.
func enrolled(r Request) (bool, string) {
	value, of := r.NamespaceLabels[wire.InjectionLabel], r.NamespaceLabels[wire.RevisionLabel]
	switch {
	case value != "" && value != "enabled":
		return false, fmt.Sprintf("namespace %s has the label %s=%s", r.Namespace, wire.InjectionLabel, value)
	case r.Pod.Labels[wire.RevisionLabel] != "":
		return true, fmt.Sprintf("the pod has the label %s=%s", wire.RevisionLabel, r.Pod.Labels[wire.RevisionLabel])
	case value != "":
		return true, fmt.Sprintf("namespace %s has the label %s=%s", r.Namespace, wire.InjectionLabel, value)
	case of != "":
		return true, fmt.Sprintf("namespace %s has the label %s=%s", r.Namespace, wire.RevisionLabel, of)
	}
	return false, ""
}

// matches reports whether one of selectors, which may not be empty, matches a pod.
func matches(selectors []metav1.LabelSelector, pod *corev1.Pod) (bool, error) {
	for i := range selectors {
		s, err := metav1.LabelSelectorAsSelector(&selectors[i])
		if err != nil {
			return false, fmt.Errorf("reading a selector of the mesh: %w", err)
		}
		if !s.Empty() && s.Matches(labels.Set(pod.Labels)) {
			return true, nil
		}
	}
	return false, nil
}

// parseBool takes what Istio takes (strconv.ParseBool), and the words of labels.
func parseBool(s string) (bool, error) {
	switch s {
	case "enabled":
		return true, nil
	case "disabled":
		return false, nil
	}
	if yes, err := strconv.ParseBool(s); err == nil {
		return yes, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func isWindows(pod *corev1.Pod) bool {
	return pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows || pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// injected reports whether the pod has our containers. A pod that has a container of our name and is not ours is a mistake: were it
// let through, it would run without a proxy.
func injected(pod *corev1.Pod) (bool, error) {
	proxy := field(pod, wire.ProxyContainer)
	redirect := field(pod, wire.RedirectContainer)
	switch {
	case proxy != "" && redirect != "":
		return true, nil
	case proxy != "":
		return false, fmt.Errorf("%s: the name %s is the proxy's", proxy, wire.ProxyContainer)
	case redirect != "":
		return false, fmt.Errorf("%s: the name %s is the redirection's", redirect, wire.RedirectContainer)
	}
	return false, nil
}

// field returns the path of the container of a name, or "".
func field(pod *corev1.Pod, name string) string {
	named := func(c corev1.Container) bool { return c.Name == name }
	if i := slices.IndexFunc(pod.Spec.InitContainers, named); i >= 0 {
		return fmt.Sprintf("spec.initContainers[%d].name", i)
	}
	if i := slices.IndexFunc(pod.Spec.Containers, named); i >= 0 {
		return fmt.Sprintf("spec.containers[%d].name", i)
	}
	return ""
}

// The labels by which Istio enrols.
const (
	istioInjectLabel = "sidecar.istio.io/inject"
	istioInjection   = "istio-injection"
	istioRevision    = "istio.io/rev"
)

// askedOfIstio reads what a pod says of Istio's injection. That it says no always counts; all else where Istio's labels do. No reason: it says nothing.
func askedOfIstio(pod *corev1.Pod, counts bool) (bool, string) {
	value, kind := pod.Labels[istioInjectLabel], "label"
	if value == "" && counts {
		value, kind = pod.Annotations[istioInjectLabel], "annotation"
	}
	said := strings.ToLower(value)
	if value == "" || !counts && !slices.Contains([]string{"false", "no", "n", "off"}, said) {
		return false, ""
	}
	yes := slices.Contains([]string{"true", "yes", "y", "on"}, said)
	return yes, fmt.Sprintf("the pod's %s %s is %s", kind, istioInjectLabel, value)
}

// enrolledWithIstio asks Istio's labels. istio-injection comes before istio.io/rev, and a namespace's revision before a pod's. No reason: there are none.
func enrolledWithIstio(r Request) (bool, string) {
	value, of := r.NamespaceLabels[istioInjection], r.NamespaceLabels[istioRevision]
	switch {
	case value != "":
		return value == "enabled", fmt.Sprintf("namespace %s has the label %s=%s", r.Namespace, istioInjection, value)
	case of != "":
		return true, fmt.Sprintf("namespace %s has the label %s=%s", r.Namespace, istioRevision, of)
	case r.Pod.Labels[istioRevision] != "":
		return true, fmt.Sprintf("the pod has the label %s=%s", istioRevision, r.Pod.Labels[istioRevision])
	}
	return false, ""
}

// mark is a label or annotation by which another mesh claims a pod; no values: any.
type mark struct {
	key    string
	values []string
}

func foreignMarks() []mark {
	return []mark{
		{istioInjectLabel, []string{"true"}},
		{"sidecar.istio.io/status", nil},
		{istioRevision, nil},
		{"istio.io/dataplane-mode", []string{"ambient"}},
		{"linkerd.io/inject", []string{"enabled", "ingress"}},
		{"linkerd.io/proxy-version", nil},
		{"linkerd.io/control-plane-ns", nil},
		{"kuma.io/sidecar-injection", []string{"enabled", "true"}},
		{"kuma.io/sidecar-injected", []string{"true"}},
		{"consul.hashicorp.com/connect-inject", []string{"true"}},
		{"consul.hashicorp.com/connect-inject-status", nil},
	}
}

// foreignProxies are the container names of other meshes' proxies.
func foreignProxies() []string {
	return []string{"istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane", "envoy-sidecar", "osm-envoy"}
}

// foreign says by what another mesh claims the pod, or "". Labels of Istio's that enrol pods here are no claim.
func foreign(pod *corev1.Pod, istioLabels bool) string {
	for _, name := range foreignProxies() {
		if path := field(pod, name); path != "" {
			return fmt.Sprintf("%s is %s: the pod has another mesh's proxy", path, name)
		}
	}
	for _, m := range foreignMarks() {
		if istioLabels && (m.key == istioInjectLabel || m.key == istioRevision) {
			continue
		}
		for _, values := range []map[string]string{pod.Labels, pod.Annotations} {
			value, ok := values[m.key]
			if ok && (m.values == nil || slices.Contains(m.values, strings.ToLower(value))) {
				return fmt.Sprintf("%s=%s: the pod belongs to another mesh", m.key, value)
			}
		}
	}
	return ""
}
