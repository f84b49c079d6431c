package translate

import (
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// checkTelemetry judges a Telemetry object.
func checkTelemetry(o *inputs.Telemetry, _ *model.Mesh) []report.Issue {
	log := &report.Log{}
	for _, p := range o.Problems {
		log.Errorf(p.Path, "%s", p.Reason)
	}
	log.Errorf("", "Telemetry: not implemented by this version; the mesh's settings have access log and tracing")
	return log.Issues
}
