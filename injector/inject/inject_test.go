package inject_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/golden"
)

// options of a golden case.
type options struct {
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"` // of the namespace
	Revision  string            `json:"revision"`
	Ordinary  bool              `json:"ordinary"`
	Never     string            `json:"never"`
	Always    string            `json:"always"`
	Secrets   []string          `json:"secrets"` // to pull the image with
	Istio     bool              `json:"istio"`   // its labels count
	// What the mesh's settings and objects say of how proxies run.
	Proxy        inject.ProxyConfig   `json:"proxy"`
	ProxyConfigs []inject.ProxyConfig `json:"proxyConfigs"`
}

func params(o options) inject.Params {
	p := inject.DefaultParams("heddle/proxy:test", "test")
	p.Native, p.HookToken = !o.Ordinary, "token"
	p.PullSecrets, p.Proxy, p.ProxyConfigs, p.Revision, p.IstioLabels = o.Secrets, o.Proxy, o.ProxyConfigs, o.Revision, o.Istio
	p.NeverInject, p.AlwaysInject = selectors(o.Never), selectors(o.Always)
	return p
}

// selectors are an empty one, which must match nothing, and the one that text says.
func selectors(text string) []metav1.LabelSelector {
	all := []metav1.LabelSelector{{}}
	if text != "" {
		all = append(all, *must(metav1.ParseToLabelSelector(text)))
	}
	return all
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func readCase(t *testing.T, c golden.Case) (inject.Request, inject.Params) {
	t.Helper()
	o := options{Namespace: "shop", Labels: map[string]string{wire.InjectionLabel: "enabled"}}
	if err := yaml.UnmarshalStrict([]byte(c.Files["options"]), &o); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(c.Files["pod.yaml"]), pod); err != nil {
		t.Fatal(err)
	}
	return inject.Request{Pod: pod, Namespace: o.Namespace, NamespaceLabels: o.Labels}, params(o)
}

func TestInject(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		r, p := readCase(t, c)
		before := r.Pod.DeepCopy()
		result, err := inject.Inject(r, p)
		if !reflect.DeepEqual(before, r.Pod) {
			t.Error("the request's pod was changed")
		}
		if err != nil {
			return map[string]string{"error": err.Error()}
		}
		if result.Injected {
			twiceIsOnce(t, r, p, result.Pod)
		}
		if !result.Injected && result.Pod != r.Pod {
			t.Error("not injected, yet another pod is returned")
		}
		return map[string]string{
			"pod.yaml": string(must(yaml.Marshal(result.Pod))),
			"app":      string(must(yaml.Marshal(applications(result.Pod)))),
			"reason":   result.Reason,
			"warnings": strings.Join(result.Warnings, "\n"),
			"shape":    shape(result.Pod),
			"probes":   pretty(value(result.Pod, wire.EnvAppProbes)),
			"metrics":  value(result.Pod, wire.EnvAppPrometheus),
			"env":      environment(result.Pod),
			"redirect": strings.Join(container(result.Pod, wire.RedirectContainer).Command, " "),
			"secrets":  secrets(result.Pod),
			"limits":   string(must(yaml.Marshal(container(result.Pod, wire.ProxyContainer).Resources))),
			"meta":     string(must(yaml.Marshal(map[string]any{"labels": result.Pod.Labels, "annotations": result.Pod.Annotations}))),
		}
	})
}

// shape lists the containers in order.
func shape(pod *corev1.Pod) string {
	var b strings.Builder
	for _, c := range pod.Spec.InitContainers {
		b.WriteString("init " + c.Name)
		if c.RestartPolicy != nil {
			b.WriteString(" restarts " + string(*c.RestartPolicy))
		}
		b.WriteString("\n")
	}
	for _, c := range pod.Spec.Containers {
		b.WriteString("main " + c.Name)
		if c.Lifecycle != nil && c.Lifecycle.PostStart != nil && c.Lifecycle.PostStart.Exec != nil {
			b.WriteString(" then waits for " + strings.Join(c.Lifecycle.PostStart.Exec.Command, " "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func secrets(pod *corev1.Pod) string {
	var names []string
	for _, s := range pod.Spec.ImagePullSecrets {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// applications are the containers that were there before.
func applications(pod *corev1.Pod) []corev1.Container {
	return slices.DeleteFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return c.Name == wire.ProxyContainer || c.Name == wire.RedirectContainer
	})
}

func container(pod *corev1.Pod, name string) corev1.Container {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == name {
			return c
		}
	}
	return corev1.Container{}
}

func value(pod *corev1.Pod, name string) string {
	for _, e := range container(pod, wire.ProxyContainer).Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func environment(pod *corev1.Pod) string {
	var b strings.Builder
	for _, e := range container(pod, wire.ProxyContainer).Env {
		from := e.Value
		if e.ValueFrom != nil {
			from = "<" + e.ValueFrom.FieldRef.FieldPath + ">"
		}
		b.WriteString(e.Name + "=" + from + "\n")
	}
	return b.String()
}

func pretty(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return text
	}
	return b.String()
}

// twiceIsOnce holds that what was injected stays as it is, also after the API server's JSON has been between.
func twiceIsOnce(t *testing.T, r inject.Request, p inject.Params, first *corev1.Pod) {
	t.Helper()
	r.Pod = &corev1.Pod{}
	if err := json.Unmarshal(must(json.Marshal(first)), r.Pod); err != nil {
		t.Fatal(err)
	}
	for _, p.Native = range []bool{true, false} {
		second, err := inject.Inject(r, p)
		if err != nil || second.Injected {
			t.Errorf("injected again (%v)", err)
		}
		if diff := cmp.Diff(string(must(json.Marshal(first))), string(must(json.Marshal(second.Pod)))); diff != "" {
			t.Errorf("changed again: %s", diff)
		}
	}
}

func TestDecision(t *testing.T) {
	enabled := map[string]string{wire.InjectionLabel: "enabled"}
	istioEnabled, istioOf, counts := map[string]string{"istio-injection": "enabled"}, map[string]string{"istio.io/rev": "canary"}, options{Istio: true}
	label := func(k, v string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{k: v}}}
	}
	annotate := func(pod *corev1.Pod, k, v string) *corev1.Pod {
		pod.Annotations = map[string]string{k: v}
		return pod
	}
	with := func(name string) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}, {Name: name}}}}
	}
	host := label(wire.PodInjectLabel, "true")
	host.Spec.HostNetwork = true
	windows := label(wire.PodInjectLabel, "true")
	windows.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
	for _, c := range []struct {
		why       string
		pod       *corev1.Pod
		namespace string
		labels    map[string]string
		options   options
		inject    bool
	}{
		{why: "a namespace without label", pod: &corev1.Pod{}},
		{why: "a labelled namespace", pod: &corev1.Pod{}, labels: enabled, inject: true},
		{why: "a namespace that says no", pod: &corev1.Pod{}, labels: map[string]string{wire.InjectionLabel: "disabled"}},
		{why: "a namespace of a revision", pod: &corev1.Pod{}, labels: map[string]string{wire.RevisionLabel: "canary"}, inject: true},
		{why: "a pod of a revision", pod: label(wire.RevisionLabel, "canary"), inject: true},
		{why: "a pod of a revision in a labelled namespace", pod: label(wire.RevisionLabel, "canary"), labels: enabled, inject: true},
		{why: "a namespace that says no beats its revision", pod: &corev1.Pod{}, labels: map[string]string{wire.InjectionLabel: "disabled", wire.RevisionLabel: "canary"}},
		{why: "a namespace that says no beats the pod's revision", pod: label(wire.RevisionLabel, "canary"), labels: map[string]string{wire.InjectionLabel: "disabled"}},
		{why: "a label beats the revision", pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{wire.RevisionLabel: "canary", wire.PodInjectLabel: "false"}}}},
		{why: "never beats the revision", pod: label("app", "x"), labels: map[string]string{wire.RevisionLabel: "canary"}, options: options{Never: "app=x"}},
		{why: "a label beats the namespace", pod: label(wire.PodInjectLabel, "false"), labels: enabled},
		{why: "a label beats the namespace, the other way", pod: label(wire.PodInjectLabel, "true"), inject: true},
		{why: "a label beats the annotation", pod: annotate(label(wire.PodInjectLabel, "true"), wire.PodInjectLabel, "false"), inject: true},
		{why: "an annotation beats the namespace", pod: annotate(&corev1.Pod{}, wire.PodInjectLabel, "false"), labels: enabled},
		{why: "an annotation beats a selector", pod: annotate(label("app", "x"), wire.PodInjectLabel, "true"), options: options{Never: "app=x"}, inject: true},
		{why: "never beats always", pod: label("app", "x"), labels: enabled, options: options{Never: "app=x", Always: "app=x"}},
		{why: "always beats the namespace", pod: label("app", "x"), options: options{Always: "app=x"}, inject: true},
		{why: "a namespace that says no beats always", pod: label("app", "x"), labels: map[string]string{wire.InjectionLabel: "disabled"}, options: options{Always: "app=x"}},
		{why: "a label beats always", pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x", wire.PodInjectLabel: "false"}}}, options: options{Always: "app=x"}},
		{why: "a selector with expressions", pod: label("app", "x"), labels: enabled, options: options{Never: "app in (x,y)"}},
		{why: "a selector that does not match", pod: label("app", "y"), options: options{Always: "app=x"}},
		{why: "the host's network", pod: host, labels: enabled},
		{why: "Windows", pod: windows, labels: enabled},
		{why: "kube-system, whatever it says", pod: label(wire.PodInjectLabel, "true"), namespace: "kube-system", labels: enabled},
		{why: "our own namespace", pod: label(wire.PodInjectLabel, "true"), namespace: wire.SystemNamespace, labels: enabled},
		{why: "Istio's proxy", pod: with("istio-proxy"), labels: enabled},
		{why: "Linkerd's proxy", pod: with("linkerd-proxy"), labels: enabled},
		{why: "Istio's label", pod: label("sidecar.istio.io/inject", "true"), labels: enabled},
		{why: "Istio's revision", pod: label("istio.io/rev", "canary"), labels: enabled},
		{why: "Istio's status", pod: annotate(&corev1.Pod{}, "sidecar.istio.io/status", "{}"), labels: enabled},
		{why: "Linkerd's annotation", pod: annotate(&corev1.Pod{}, "linkerd.io/inject", "enabled"), labels: enabled},
		{why: "ambient", pod: label("istio.io/dataplane-mode", "ambient"), labels: enabled},
		{why: "no to ambient is no claim", pod: label("istio.io/dataplane-mode", "none"), labels: enabled, inject: true},
		{why: "no to Istio, said the old way, is no", pod: label("sidecar.istio.io/inject", "false"), labels: enabled},
		{why: "no to Istio, in another of its words", pod: label("sidecar.istio.io/inject", "Off"), labels: enabled},
		{why: "a label as Istio reads booleans", pod: label(wire.PodInjectLabel, "False"), labels: enabled},
		{why: "Istio's label of a namespace is another mesh's", pod: &corev1.Pod{}, labels: istioEnabled},
		{why: "and its revision", pod: &corev1.Pod{}, labels: istioOf},
		{why: "where they count: a namespace", pod: &corev1.Pod{}, labels: istioEnabled, options: counts, inject: true},
		{why: "where they count: a namespace that says no", pod: &corev1.Pod{}, labels: map[string]string{"istio-injection": "disabled", "istio.io/rev": "canary"}, options: counts},
		{why: "where they count: a namespace's revision", pod: &corev1.Pod{}, labels: istioOf, options: counts, inject: true},
		{why: "where they count: a pod", pod: label("sidecar.istio.io/inject", "true"), options: counts, inject: true},
		{why: "where they count: a pod, by its annotation", pod: annotate(&corev1.Pod{}, "sidecar.istio.io/inject", "yes"), options: counts, inject: true},
		{why: "where they count: a pod's revision", pod: label("istio.io/rev", "canary"), options: counts, inject: true},
		{why: "where they count: a pod that says no", pod: label("sidecar.istio.io/inject", "false"), labels: istioEnabled, options: counts},
		{why: "where they count: a pod that says nonsense, which is no there", pod: label("sidecar.istio.io/inject", "maybe"), labels: istioEnabled, options: counts},
		{why: "where they count: Heddle's label of a pod comes first", pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{wire.PodInjectLabel: "false", "sidecar.istio.io/inject": "true"}}}, options: counts},
		{why: "where they count: Heddle's label of a namespace comes first", pod: &corev1.Pod{}, labels: map[string]string{wire.InjectionLabel: "disabled", "istio-injection": "enabled"}, options: counts},
		{why: "where they count: Heddle's revision comes first", pod: &corev1.Pod{}, labels: map[string]string{wire.RevisionLabel: "canary", "istio-injection": "disabled"}, options: counts, inject: true},
		{why: "where they count: no label at all", pod: &corev1.Pod{}, options: counts},
		{why: "where they count: always", pod: label("app", "x"), options: options{Istio: true, Always: "app=x"}, inject: true},
		{why: "where they count: a namespace that says no beats always", pod: label("app", "x"), labels: map[string]string{"istio-injection": "disabled"}, options: options{Istio: true, Always: "app=x"}},
		{why: "where they count: Istio's proxy", pod: with("istio-proxy"), labels: istioEnabled, options: counts},
		{why: "where they count: Istio's status", pod: annotate(&corev1.Pod{}, "sidecar.istio.io/status", "{}"), labels: istioEnabled, options: counts},
		{why: "where they count: ambient", pod: label("istio.io/dataplane-mode", "ambient"), labels: istioEnabled, options: counts},
	} {
		namespace := c.namespace
		if namespace == "" {
			namespace = "shop"
		}
		result, err := inject.Inject(inject.Request{Pod: c.pod, Namespace: namespace, NamespaceLabels: c.labels}, params(c.options))
		if err != nil || result.Injected != c.inject || result.Reason == "" {
			t.Errorf("%s: injected %t (%q, %v), want %t", c.why, result.Injected, result.Reason, err, c.inject)
		}
	}
}

// The revision that injected a pod is known of it afterwards.
func TestRevisionOf(t *testing.T) {
	for _, of := range []string{"", "canary"} {
		r := inject.Request{Pod: &corev1.Pod{}, Namespace: "shop", NamespaceLabels: map[string]string{wire.InjectionLabel: "enabled"}}
		result := must(inject.Inject(r, params(options{Revision: of})))
		if got, injected := inject.RevisionOf(result.Pod); got != of || !injected {
			t.Errorf("%q: got %q, %v", of, got, injected)
		}
	}
	old := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{wire.StatusAnnotation: "injected"}}}
	if got, injected := inject.RevisionOf(old); got != "" || !injected {
		t.Errorf("a status that cannot be read: %q, %v", got, injected)
	}
	if _, injected := inject.RevisionOf(&corev1.Pod{}); injected {
		t.Error("a pod without status counts as injected")
	}
}

// Names at the API server's limits make labels and names that it takes.
func TestNamesAtTheirLimits(t *testing.T) {
	name, controls := strings.Repeat("x", 63)+"."+strings.Repeat("y", 189), true
	for says, pod := range map[string]*corev1.Pod{
		"a pod of its own":     {ObjectMeta: metav1.ObjectMeta{Name: name}},
		"of a StatefulSet":     {ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: name, Controller: &controls}}}},
		"of a Deployment":      {ObjectMeta: metav1.ObjectMeta{GenerateName: name[:58] + "-", Labels: map[string]string{"pod-template-hash": "abc"}, OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: name[:249] + "-abc", Controller: &controls}}}},
		"of a CronJob":         {ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: name[:52] + "-29000000", Controller: &controls}}}},
		"with labels as long":  {ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"app": strings.Repeat("a", 63), "version": strings.Repeat("v", 63)}}},
		"cut at a punctuation": {ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("x", 62) + "." + strings.Repeat("y", 60)}},
	} {
		pod.Spec.Containers = []corev1.Container{{Name: strings.Repeat("c", 63), Ports: []corev1.ContainerPort{{Name: strings.Repeat("p", 15), ContainerPort: 65535}}}}
		result, err := inject.Inject(inject.Request{Pod: pod, Namespace: strings.Repeat("n", 63), NamespaceLabels: map[string]string{wire.InjectionLabel: "enabled"}}, params(options{}))
		if err != nil || !result.Injected {
			t.Errorf("%s: injected %t: %v", says, result.Injected, err)
			continue
		}
		for key, value := range result.Pod.Labels {
			if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
				t.Errorf("%s: label %s=%s: %v", says, key, value, problems)
			}
		}
		for _, v := range result.Pod.Spec.Volumes {
			if problems := validation.IsDNS1123Label(v.Name); len(problems) > 0 {
				t.Errorf("%s: volume %s: %v", says, v.Name, problems)
			}
		}
	}
}

// What the control plane uses reaches the command line as JSON.
func TestParamsPassAsJSON(t *testing.T) {
	p := params(options{Never: "app in (x,y)", Always: "app=z", Secrets: []string{"pull"}})
	var got inject.Params
	if err := json.Unmarshal(must(json.Marshal(p)), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestASelectorThatCannotBeRead(t *testing.T) {
	p := inject.DefaultParams("x", "test")
	p.NeverInject = []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Like"}}}}
	if _, err := inject.Inject(inject.Request{Pod: &corev1.Pod{}, Namespace: "shop"}, p); err == nil || !strings.Contains(err.Error(), "selector of the mesh") {
		t.Errorf("got %v", err)
	}
}

func TestMistakesOfTheAuthor(t *testing.T) {
	annotated := func(k, v string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{k: v}}}
	}
	for _, c := range []struct {
		why  string
		pod  *corev1.Pod
		want string
	}{
		{"a label that says neither", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{wire.PodInjectLabel: "yes please"}}}, "label sidecar.heddle.io/inject"},
		{"a container of the proxy's name", &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: wire.ProxyContainer}}}}, "spec.containers[0].name"},
		{"a container of the redirection's name", &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{}, {Name: wire.RedirectContainer}}}}, "spec.initContainers[1].name"},
		{"a bad port", annotated("traffic.sidecar.istio.io/excludeInboundPorts", "http"), "annotation traffic.sidecar.istio.io/excludeInboundPorts"},
		{"a bad range", annotated("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/40"), "annotation traffic.sidecar.istio.io/includeOutboundIPRanges"},
		{"a capture option that is not implemented", annotated("traffic.sidecar.istio.io/kubevirtInterfaces", "net1"), "is not implemented"},
		{"TPROXY", annotated("sidecar.istio.io/interceptionMode", "TPROXY"), "not implemented"},
		{"a bad quantity", annotated("sidecar.istio.io/proxyCPU", "a lot"), "annotation sidecar.istio.io/proxyCPU"},
		{"a negative quantity", annotated("sidecar.istio.io/proxyMemory", "-1"), "annotation sidecar.istio.io/proxyMemory"},
		{"a bad level", annotated("sidecar.istio.io/logLevel", "loud"), "annotation sidecar.istio.io/logLevel"},
		{"a bad level of a component", annotated("sidecar.istio.io/logLevel", "info,http:loud"), "annotation sidecar.istio.io/logLevel"},
		{"a bad switch of metrics", annotated("prometheus.istio.io/merge-metrics", "maybe"), "annotation prometheus.istio.io/merge-metrics"},
		{"a bad switch", annotated(wire.AnnotationNativeSidecar, "maybe"), "annotation " + wire.AnnotationNativeSidecar},
	} {
		r := inject.Request{Pod: c.pod, Namespace: "shop", NamespaceLabels: map[string]string{wire.InjectionLabel: "enabled"}}
		if result, err := inject.Inject(r, params(options{})); err == nil || !strings.Contains(err.Error(), c.want) || result.Injected {
			t.Errorf("%s: %v, want an error that says %q", c.why, err, c.want)
		}
	}
}

// TestLevels holds which of Envoy's levels the proxy is given.
func TestLevels(t *testing.T) {
	for said, want := range map[string]string{
		"": "info", "trace": "debug", "debug": "debug", "info": "info", "warning": "warn", "warn": "warn", "error": "error", "critical": "error", "off": "error",
		"warning,http:debug": "warn", "http:debug": "info",
	} {
		result := must(annotated(map[string]string{"sidecar.istio.io/logLevel": said}))
		if got := value(result.Pod, wire.EnvLogLevel); got != want || (len(result.Warnings) > 0) != strings.Contains(said, ":") {
			t.Errorf("%q: %q, want %q; %v", said, got, want, result.Warnings)
		}
	}
}

// annotated injects a pod that has annotations.
func annotated(annotations map[string]string) (inject.Result, error) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app",
		LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}}}}}}}
	return inject.Inject(inject.Request{Pod: pod, Namespace: "shop", NamespaceLabels: map[string]string{wire.InjectionLabel: "enabled"}}, params(options{}))
}

// TestValuesAsIstioReadsThem holds that annotations that were written for Istio say the same here.
func TestValuesAsIstioReadsThem(t *testing.T) {
	for _, no := range []string{"false", "False", "FALSE", "f", "0"} {
		pod := must(annotated(map[string]string{"sidecar.istio.io/rewriteAppHTTPProbers": no, "prometheus.istio.io/merge-metrics": no, "prometheus.io/scrape": "true",
			"sidecar.istio.io/nativeSidecar": no})).Pod
		if container(pod, "app").LivenessProbe.HTTPGet.Path != "" || value(pod, wire.EnvAppPrometheus) != "" || len(pod.Spec.Containers) != 2 {
			t.Errorf("%s is no no", no)
		}
	}
	if pod := must(annotated(map[string]string{"prometheus.io/scrape": "True"})).Pod; value(pod, wire.EnvAppPrometheus) == "" {
		t.Error("True is no yes")
	}
	if pod := must(annotated(map[string]string{"proxy.istio.io/config": `concurrency: "2"`})).Pod; value(pod, "GOMAXPROCS") != "2" {
		t.Errorf("a number as text is none: %s", environment(pod))
	}
	none := must(annotated(map[string]string{"sidecar.istio.io/proxyMemory": "1Gi", "sidecar.istio.io/proxyMemoryLimit": "0", "sidecar.istio.io/proxyCPU": "0"})).Pod
	if r := container(none, wire.ProxyContainer).Resources; r.Requests.Memory().String() != "1Gi" || len(r.Limits) != 0 || len(r.Requests) != 1 {
		t.Errorf("0 is not nothing: %v", r)
	}
}

// TestHooksNeedAToken: without one, whoever reaches the pod could have its hooks run.
func TestHooksNeedAToken(t *testing.T) {
	hook := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Lifecycle: &corev1.Lifecycle{
		PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/bye", Port: intstr.FromInt32(80)}}}}}}}
	r := inject.Request{Pod: hook, Namespace: "shop", NamespaceLabels: map[string]string{wire.InjectionLabel: "enabled"}}
	p := params(options{})
	p.HookToken = ""
	if result, err := inject.Inject(r, p); err == nil || result.Injected {
		t.Errorf("injected %v, %v", result.Injected, err)
	}
	p.HookToken = "unguessable"
	result, err := inject.Inject(r, p)
	if err != nil {
		t.Fatal(err)
	}
	if got := container(result.Pod, "app").Lifecycle.PreStop.HTTPGet.Path; got != "/app-lifecycle/unguessable/app/prestopz" {
		t.Errorf("the hook's path is %s", got)
	}
	if _, err := inject.Inject(inject.Request{Pod: &corev1.Pod{Spec: corev1.PodSpec{Containers: result.Pod.Spec.Containers[:1]}}, Namespace: "shop",
		NamespaceLabels: r.NamespaceLabels}, params(options{})); err == nil || !strings.Contains(err.Error(), "container app") {
		t.Errorf("a hook that had been taken before, with another token: %v", err)
	}
}

func TestNativeSupported(t *testing.T) {
	for _, c := range []struct {
		versions string
		want     bool
	}{
		{"v1.37.2", true}, {"v1.33.0", true}, {"v1.34.1-gke.100", true}, {"v1.33+", true}, {"v2.0.0", true},
		{"v1.32.9", false}, {"v1.37.2 v1.28.0", false}, {"", false}, {"nonsense", false}, {"v1", false},
	} {
		if got := inject.NativeSupported(strings.Fields(c.versions)); got != c.want {
			t.Errorf("%q: %t", c.versions, got)
		}
	}
}
