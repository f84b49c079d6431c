// Package security translates PeerAuthentication and AuthorizationPolicy. It is pure, and it fails closed: a policy that is not
// fully understood still selects whom its author meant, and lets nobody through. It never decides about a request.
package security

import (
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
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
