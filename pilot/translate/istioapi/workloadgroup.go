package istioapi

import (
	"maps"
	"slices"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var workloadGroupFields = fields.New("metadata.{labels,annotations}", "template.{ports,labels,locality,weight,serviceAccount}")

// ReadWorkloadGroup judges a template of WorkloadEntries. No machine registers itself here, so that it makes none.
func ReadWorkloadGroup(o *inputs.WorkloadGroup, mesh *model.Mesh) []report.Issue {
	r, t := newReader(o, mesh), o.Spec.GetTemplate()
	workloadGroupFields.Check(o.Spec, "spec", &r.Log)
	if t == nil {
		r.Errorf("spec.template", "required")
	}
	for _, name := range slices.Sorted(maps.Keys(t.GetPorts())) {
		values.Port(&r.Log, "spec.template.ports["+name+"]", t.Ports[name])
	}
	r.Warnf("spec.template", "it makes no WorkloadEntry: machines do not register themselves with this version; write one for each")
	return r.Issues
}
