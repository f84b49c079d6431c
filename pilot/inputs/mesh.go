package inputs

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"
	mesh "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
)

// WithSettings is m with what the data of the settings' ConfigMap says instead: MeshConfig, and what Istio has no setting for. The error is
// DecodeMesh's.
func (m Mesh) WithSettings(data map[string]string) (Mesh, error) {
	var err error
	if m.Config, m.Problems, err = DecodeMesh([]byte(data[wire.MeshConfigMapKey])); err != nil {
		return m, err
	}
	m.StrictHostOwnership = false
	if text, said := data[wire.StrictOwnershipKey]; said {
		if m.StrictHostOwnership, err = strconv.ParseBool(text); err != nil {
			m.StrictHostOwnership = true // somebody wanted it
			m.Problems = append(m.Problems, Problem{Path: wire.StrictOwnershipKey, Reason: fmt.Sprintf("%q is neither true nor false; true is in force", text)})
		}
	}
	m.Machines = false
	if text, said := data[wire.MachinesKey]; said {
		if m.Machines, err = strconv.ParseBool(text); err != nil {
			m.Machines = false // nobody is let in by a slip
			m.Problems = append(m.Problems, Problem{Path: wire.MachinesKey, Reason: fmt.Sprintf("%q is neither true nor false; false is in force", text)})
		}
	}
	return m, nil
}

// SettingsOf is m with the settings of another.
func (m Mesh) SettingsOf(other *Mesh) Mesh {
	m.Config, m.Problems, m.StrictHostOwnership, m.Machines = other.Config, other.Problems, other.StrictHostOwnership, other.Machines
	return m
}

// Silent reports whether nobody set anything.
func (m *Mesh) Silent() bool {
	return len(m.Problems) == 0 && !m.StrictHostOwnership && !m.Machines && proto.Equal(m.Config, &mesh.MeshConfig{})
}

// DecodeMesh reads the settings of the mesh from YAML: Istio's MeshConfig. Unknown fields are Problems; text that cannot be read
// at all is an error, since no default is as safe as what was in force before.
func DecodeMesh(text []byte) (*mesh.MeshConfig, []Problem, error) {
	out := &mesh.MeshConfig{}
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, nil, fmt.Errorf("reading mesh settings: %w", err)
	}
	if string(data) == "null" {
		return out, nil, nil
	}
	if err := out.UnmarshalJSON(data); err != nil {
		return nil, nil, fmt.Errorf("reading mesh settings: %w", err)
	}
	return out, unknownFields(data, out.ProtoReflect().Descriptor(), "mesh"), nil
}
