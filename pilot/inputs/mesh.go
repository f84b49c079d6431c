package inputs

import (
	"fmt"

	mesh "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"
)

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
