// Package registry translates what clients find beside Kubernetes' own Services: ServiceEntries and WorkloadEntries. It is pure, and looks nobody up: what
// selects whom is settled by its parent, translate.
package registry

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// reader reads one object.
type reader struct {
	report.Log
	mesh      *model.Mesh
	namespace string
}

func newReader(o inputs.Object, mesh *model.Mesh) *reader {
	r := &reader{mesh: mesh, namespace: o.GetNamespace()}
	for _, p := range o.Issues() {
		r.Errorf(p.Path, "%s", p.Reason)
	}
	return r
}

func from(o inputs.Object) model.Name {
	return model.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// at is a place on a list.
func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// ServiceEntries says what becomes of each field of that kind.
func ServiceEntries() fields.Kind {
	return fields.Kind{Name: "ServiceEntry", Message: &networking.ServiceEntry{}, Honoured: serviceEntryFields,
		Refused: []fields.Note{{Path: "endpoints.network", Why: "there is one network"}},
		Differs: []fields.Note{
			{Path: "resolution", Why: "with DYNAMIC_DNS, ports speak HTTP or TLS, and names that lead to the proxy's own machine, its links or loopback are answered 503"},
			{Path: "ports.protocol", Why: "UDP is refused"},
			{Path: "workloadSelector.labels", Why: "with DNS and DNS_ROUND_ROBIN, WorkloadEntries alone: pods have addresses, for which there is STATIC; with NONE without effect; with DYNAMIC_DNS refused"},
		},
	}
}

// WorkloadEntries says what becomes of each field of that kind.
func WorkloadEntries() fields.Kind {
	return fields.Kind{Name: "WorkloadEntry", Message: &networking.WorkloadEntry{}, Honoured: workloadEntryFields,
		Refused: []fields.Note{{Path: "network", Why: "there is one network"}},
		Differs: []fields.Note{{Path: "address", Why: "an address, a unix socket, or a name, which ServiceEntries with resolution DNS or DNS_ROUND_ROBIN alone select"}},
	}
}
