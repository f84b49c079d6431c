package replica

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/source"
)

// Text is a file and where it came from.
type Text struct {
	Name    string
	Content []byte
}

// FromFiles reads a mesh from YAML or JSON. Objects that name no namespace are in namespace. What files leave to a cluster is made up for
// as a cluster would: pods of Deployments and their like, addresses, endpoints, and proxies where they would be injected (see complete) by p.
func FromFiles(files []Text, namespace string, p inject.Params) (*inputs.Inputs, error) {
	all := &inputs.Inputs{Mesh: source.DefaultMesh()}
	var owners []owner
	for _, f := range files {
		in, err := source.FromYAMLIn(f.Content, namespace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		source.Join(all, in)
		more, err := ownersIn(f.Content, namespace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		owners = append(owners, more...)
	}
	Installed(all, p)
	return all, complete(all, owners, p)
}

// owner is what pods are made of: a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob.
type owner struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Replicas    *int32                 `json:"replicas"`
		Selector    *metav1.LabelSelector  `json:"selector"`
		Template    corev1.PodTemplateSpec `json:"template"`
		JobTemplate struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"`
	} `json:"spec"`
}

// template is the pod that the owner makes.
func (o *owner) template() *corev1.PodTemplateSpec {
	if o.Kind == "CronJob" {
		return &o.Spec.JobTemplate.Spec.Template
	}
	return &o.Spec.Template
}

// ownersIn finds what pods are made of among documents.
func ownersIn(text []byte, namespace string) ([]owner, error) {
	var out []owner
	docs := yamlreader.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a document: %w", err)
		}
		found, err := ownersOf(doc, namespace)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
}

func ownersOf(doc []byte, namespace string) ([]owner, error) {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Items           []any `json:"items"`
	}
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return nil, fmt.Errorf("reading an object: %w", err)
	}
	switch head.APIVersion + "/" + head.Kind {
	case "v1/List":
		var out []owner
		for _, item := range head.Items {
			text, err := yaml.Marshal(item)
			if err != nil {
				return nil, fmt.Errorf("reading a list: %w", err)
			}
			found, err := ownersOf(text, namespace)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
		return out, nil
	case "apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/DaemonSet", "apps/v1/ReplicaSet", "batch/v1/Job", "batch/v1/CronJob":
	default:
		return nil, nil
	}
	var o owner
	if err := yaml.Unmarshal(doc, &o); err != nil {
		return nil, fmt.Errorf("reading a %s: %w", head.Kind, err)
	}
	if o.Namespace == "" {
		o.Namespace = namespace
	}
	return []owner{o}, nil
}
