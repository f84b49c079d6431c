package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	mesh "istio.io/api/mesh/v1alpha1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// DefaultMesh is the mesh that nobody configured.
func DefaultMesh() *inputs.Mesh {
	return &inputs.Mesh{Config: &mesh.MeshConfig{}, Namespace: wire.SystemNamespace, ClusterID: wire.DefaultClusterID, ClusterDomain: wire.DefaultClusterDomain}
}

// FromYAML is FromYAMLIn where objects without a namespace are in "default".
func FromYAML(text []byte) (*inputs.Inputs, error) { return FromYAMLIn(text, metav1.NamespaceDefault) }

// FromYAMLIn reads objects from YAML or JSON documents, Lists included. Objects without a namespace are in namespace. Unknown fields and
// values that cannot be read are in the Inputs, for the report to tell of; an error is text that is no YAML. Kinds that translation
// does not look at are skipped. A ConfigMap "heddle" holds the mesh's settings.
func FromYAMLIn(text []byte, namespace string) (*inputs.Inputs, error) {
	in := &inputs.Inputs{Mesh: DefaultMesh()}
	docs := yamlreader.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return in, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		data, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		if string(data) == "null" {
			continue
		}
		if err := addDocument(in, data, namespace); err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
	}
}

// header is what every object has.
type header struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name, Namespace string
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

func addDocument(in *inputs.Inputs, data []byte, namespace string) error {
	if !bytes.HasPrefix(data, []byte("{")) {
		return errors.New("an object is expected")
	}
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("an object is expected: %w", err)
	}
	if h.Kind == "" || h.APIVersion == "" {
		return errors.New("apiVersion and kind expected")
	}
	if h.Kind == "List" {
		for i, item := range h.Items {
			if err := addDocument(in, item, namespace); err != nil {
				return fmt.Errorf("items[%d]: %w", i, err)
			}
		}
		return nil
	}
	if err := addObject(in, h, data, namespace); err != nil {
		gv, _ := schema.ParseGroupVersion(h.APIVersion)
		in.Unreadable = append(in.Unreadable, inputs.Unreadable{Group: gv.Group, Kind: h.Kind, Namespace: h.Metadata.Namespace,
			Name: h.Metadata.Name, Problem: inputs.Problem{Reason: err.Error()}})
	}
	return nil
}

// addObject puts one object on its list. Namespace is that of an object that names none.
func addObject(in *inputs.Inputs, h header, data []byte, namespace string) error {
	gv, err := schema.ParseGroupVersion(h.APIVersion)
	if err != nil {
		return fmt.Errorf("reading apiVersion: %w", err)
	}
	if kind, ok := inputs.FindKind(gv.Group, h.Kind); ok {
		o, err := inputs.Decode(data)
		if err != nil {
			return err
		}
		if o.GetNamespace() == "" && !kind.Global {
			o.SetNamespace(namespace)
		}
		in.Add(o)
		return nil
	}
	switch h.APIVersion + "/" + h.Kind {
	case "v1/Namespace":
		return addCore(&in.Namespaces, data, "")
	case "v1/Service":
		return addCore(&in.Services, data, namespace)
	case "discovery.k8s.io/v1/EndpointSlice":
		return addCore(&in.EndpointSlices, data, namespace)
	case "v1/Pod":
		return addCore(&in.Pods, data, namespace)
	case "v1/Node":
		return addCore(&in.Nodes, data, "")
	case "v1/ConfigMap":
		return addMesh(in, data)
	}
	return nil
}

func addCore[T any, P interface {
	*T
	metav1.Object
}](list *[]*T, data []byte, namespace string) error {
	out := new(T)
	if err := yaml.UnmarshalStrict(data, out); err != nil {
		return fmt.Errorf("reading object: %w", err)
	}
	if p := P(out); p.GetNamespace() == "" {
		p.SetNamespace(namespace)
	}
	*list = append(*list, out)
	return nil
}

func addMesh(in *inputs.Inputs, data []byte) error {
	var cm corev1.ConfigMap
	if err := yaml.UnmarshalStrict(data, &cm); err != nil {
		return fmt.Errorf("reading object: %w", err)
	}
	if cm.Name != wire.MeshConfigMap {
		return nil
	}
	if _, ok := cm.Data[wire.MeshConfigMapKey]; !ok && cm.Data[wire.StrictOwnershipKey] == "" && cm.Data[wire.MachinesKey] == "" && cm.Data[wire.SessionsKey] == "" {
		return nil
	}
	settings, err := in.Mesh.WithSettings(cm.Data)
	if err != nil {
		return err
	}
	in.Mesh = &settings
	return nil
}
