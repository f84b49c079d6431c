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
	m.StrictHostOwnership = m.truth(data, wire.StrictOwnershipKey, true) // where it cannot be read, somebody wanted it
	m.Machines = m.truth(data, wire.MachinesKey, false)                  // nobody is let in by a slip
	m.MachinesPerAccount = m.count(data, wire.MachinesMostKey)
	m.PersistentSessions = m.truth(data, wire.SessionsKey, false)
	return m, nil
}

// truth reads a setting that is true or false; what is neither is a problem, and otherwise in force.
func (m *Mesh) truth(data map[string]string, key string, otherwise bool) bool {
	text, said := data[key]
	if !said {
		return false
	}
	out, err := strconv.ParseBool(text)
	if err != nil {
		m.Problems = append(m.Problems, Problem{Path: key, Reason: fmt.Sprintf("%q is neither true nor false; %t is in force", text, otherwise)})
		return otherwise
	}
	return out
}

// count reads a setting that is a number above 0, 0 where nobody said anything. What is none is a problem, and -1: somebody wanted a limit, and none is as
// safe as that nothing is added.
func (m *Mesh) count(data map[string]string, key string) int {
	text, said := data[key]
	if !said {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		m.Problems = append(m.Problems, Problem{Path: key, Reason: fmt.Sprintf("%q is no number above 0; none is added to those that are there", text)})
		return -1
	}
	return int(n)
}

// SettingsOf is m with the settings of another.
func (m Mesh) SettingsOf(other *Mesh) Mesh {
	m.Config, m.Problems, m.StrictHostOwnership = other.Config, other.Problems, other.StrictHostOwnership
	m.Machines, m.MachinesPerAccount, m.PersistentSessions = other.Machines, other.MachinesPerAccount, other.PersistentSessions
	return m
}

// Silent reports whether nobody set anything.
func (m *Mesh) Silent() bool {
	return len(m.Problems) == 0 && !m.StrictHostOwnership && !m.Machines && m.MachinesPerAccount == 0 && !m.PersistentSessions && proto.Equal(m.Config, &mesh.MeshConfig{})
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
