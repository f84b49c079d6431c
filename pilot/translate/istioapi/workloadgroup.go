package istioapi

import (
	"maps"
	"slices"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var workloadGroupFields = fields.New("metadata.{labels,annotations}", "template.{ports,labels,locality,weight,serviceAccount}")

// ReadWorkloadGroup translates a template of WorkloadEntries: what machines may register themselves by. Nil: no machine may.
func ReadWorkloadGroup(o *inputs.WorkloadGroup, mesh *model.Mesh) (*model.WorkloadGroup, []report.Issue) {
	r, t := newReader(o, mesh), o.Spec.GetTemplate()
	workloadGroupFields.Check(o.Spec, "spec", &r.Log)
	if t == nil {
		r.Errorf("spec.template", "required")
	}
	for _, name := range slices.Sorted(maps.Keys(t.GetPorts())) {
		values.Port(&r.Log, "spec.template.ports["+name+"]", t.Ports[name])
	}
	if r.account(t.GetServiceAccount()) && !mesh.Machines {
		r.Warnf("spec.template", "no machine registers itself by it: the mesh lets none (the setting machines)")
	}
	if t.GetServiceAccount() == "" || !mesh.Machines || r.Failed() {
		return nil, r.Issues
	}
	labels := maps.Clone(t.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, o.Spec.GetMetadata().GetLabels())
	return &model.WorkloadGroup{From: from(o), UID: string(o.UID), Account: t.ServiceAccount, Labels: labels, Annotations: o.Spec.GetMetadata().GetAnnotations(),
		Ports: t.Ports, Locality: t.Locality, Weight: t.Weight, Probed: o.Spec.GetProbe() != nil}, r.Issues
}

// account judges the account whose proof machines show, and reports whether there is one.
func (r *reader) account(name string) bool {
	const path = "spec.template.serviceAccount"
	if name == "" {
		r.Warnf(path, "no machine registers itself by it: it says nobody's proof counts; name a service account")
		return false
	}
	if _, err := spiffe.New(r.mesh.TrustDomain, r.namespace, name); err != nil {
		r.Errorf(path, "%q is not the name of a service account", name)
		return false
	}
	return true
}
