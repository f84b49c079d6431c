package inject

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Outcome is what became of one workload of a file.
type Outcome struct {
	Object   string // kind namespace/name
	Injected bool
	Reason   string
	Warnings []string
}

// InjectYAML injects the pods and pod templates of a stream of YAML or JSON documents, and of lists in it; objects without pods
// pass as they are and have no outcome. Naming a file is the opt-in: namespaces count as labelled, and what the pods themselves say still decides.
// Namespace is that of objects that name none. The error is a mistake in the file and names the object.
func InjectYAML(in io.Reader, namespace string, p Params) ([]byte, []Outcome, error) {
	var out bytes.Buffer
	var outcomes []Outcome
	documents := utilyaml.NewYAMLReader(bufio.NewReader(in))
	for n := 1; ; n++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), outcomes, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		done, more, err := injectDocument(text, namespace, p)
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", n, err)
		}
		if len(done) > 0 && out.Len() > 0 {
			out.WriteString("---\n")
		}
		out.Write(done)
		outcomes = append(outcomes, more...)
	}
}

func injectDocument(text []byte, namespace string, p Params) ([]byte, []Outcome, error) {
	var object map[string]any
	if err := yaml.Unmarshal(text, &object); err != nil {
		return nil, nil, fmt.Errorf("reading YAML: %w", err)
	}
	if len(object) == 0 {
		return nil, nil, nil
	}
	outcomes, err := InjectResource(object, namespace, p)
	if err != nil {
		return nil, nil, err
	}
	done, err := yaml.Marshal(object)
	return done, outcomes, err
}

// InjectResource is InjectYAML for one object, workload or list, which it changes in place.
func InjectResource(object map[string]any, namespace string, p Params) ([]Outcome, error) {
	u := unstructured.Unstructured{Object: object}
	if items, ok := object["items"].([]any); ok && strings.HasSuffix(u.GetKind(), "List") {
		return injectItems(items, namespace, p)
	}
	if own := u.GetNamespace(); own != "" {
		namespace = own
	}
	path, ok := templatePath(u.GetKind())
	if !ok {
		return nil, nil
	}
	outcome := Outcome{Object: fmt.Sprintf("%s %s/%s", u.GetKind(), namespace, u.GetName())}
	result, err := injectAt(object, path, Request{Namespace: namespace, Workload: u.GetName()}, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", outcome.Object, err)
	}
	outcome.Injected, outcome.Reason, outcome.Warnings = result.Injected, result.Reason, result.Warnings
	return []Outcome{outcome}, nil
}

func injectItems(items []any, namespace string, p Params) ([]Outcome, error) {
	var outcomes []Outcome
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("items[%d]: not an object", i)
		}
		more, err := InjectResource(object, namespace, p)
		if err != nil {
			return nil, fmt.Errorf("items[%d]: %w", i, err)
		}
		outcomes = append(outcomes, more...)
	}
	return outcomes, nil
}

// templatePath says where in an object of a kind the pod is.
func templatePath(kind string) ([]string, bool) {
	switch kind {
	case "Pod":
		return nil, true
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job":
		return []string{"spec", "template"}, true
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

// injectAt injects the pod at path of object, where only metadata and spec are a pod's.
func injectAt(object map[string]any, path []string, r Request, p Params) (Result, error) {
	template := object
	if len(path) > 0 {
		found, ok, err := unstructured.NestedMap(object, path...)
		if err != nil || !ok {
			return Result{}, fmt.Errorf("%s: there is no pod template", strings.Join(path, "."))
		}
		template = found
	}
	r.Pod = &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(template, r.Pod, false); err != nil {
		return Result{}, fmt.Errorf("reading the pod: %w", err)
	}
	r.NamespaceLabels = map[string]string{wire.InjectionLabel: "enabled"}
	result, err := Inject(r, p)
	if err != nil || !result.Injected {
		return result, err
	}
	changed, err := runtime.DefaultUnstructuredConverter.ToUnstructured(result.Pod)
	if err != nil {
		return result, fmt.Errorf("writing the pod: %w", err)
	}
	for _, key := range []string{"metadata", "spec"} {
		if err := unstructured.SetNestedField(object, changed[key], append(append([]string{}, path...), key)...); err != nil {
			return result, fmt.Errorf("writing the pod: %w", err)
		}
	}
	return result, nil
}
