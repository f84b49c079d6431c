// Package istioapi translates Istio's networking kinds, one object at a time: VirtualService, DestinationRule, Gateway,
// ServiceEntry and Sidecar. It is pure. What one object says about another (delegates, rules for one host) is settled by its
// parent, translate; whatever a kind does not honour is refused with its path.
package istioapi

import (
	"fmt"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
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

// host resolves and checks a host name.
func (r *reader) host(path, name string, wildcard bool) string {
	host := values.Host(name, r.namespace, r.mesh.ClusterDomain)
	if why := values.ValidHost(host, wildcard); why != "" {
		r.Errorf(path, "%q: %s", name, why)
	}
	return host
}

func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
