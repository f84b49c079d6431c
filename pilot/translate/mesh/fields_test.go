package mesh

import (
	"testing"

	meshapi "istio.io/api/mesh/v1alpha1"
	telemetry "istio.io/api/telemetry/v1alpha1"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// TestHonouredFieldsExist fails when the API loses a field that is honoured. Of the mesh's many other settings, all are refused.
func TestHonouredFieldsExist(t *testing.T) {
	if _, unknown := honoured.Compare(fields.New(), (&meshapi.MeshConfig{}).ProtoReflect().Descriptor()); len(unknown) > 0 {
		t.Errorf("not in the API: %v", unknown)
	}
	if _, unknown := telemetryFields.Compare(fields.New(), (&telemetry.Telemetry{}).ProtoReflect().Descriptor()); len(unknown) > 0 {
		t.Errorf("not in the API: %v", unknown)
	}
}
