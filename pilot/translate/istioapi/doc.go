// Package istioapi translates Istio's networking kinds, one object at a time: VirtualService, DestinationRule, Gateway
// and Sidecar (registry: ServiceEntry and WorkloadEntry). It is pure. What one object says about another (delegates, rules for one host) is settled by its
// parent, translate; whatever a kind does not honour is refused with its path.
package istioapi

import (
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// reader reads one object.
type reader struct {
	fields.Reader
	// nowhere: paths are not put together, since it is not known yet whether there is anything to say.
	nowhere bool
	// told and meant are the last name of a host and what it stands for: objects name the same host again and again.
	told, meant string
}

// read reads an object, without places first. Nearly all have nothing wrong, and the few others are read again, for the places of their mistakes.
func read[O inputs.Object, V any](o O, mesh *model.Mesh, by func(*reader, O) V) (V, []report.Issue) {
	r := &reader{Reader: fields.Read(o, mesh), nowhere: true}
	v := by(r, o)
	if len(r.Issues) == 0 {
		return v, nil
	}
	r = &reader{Reader: fields.Read(o, mesh)}
	v = by(r, o)
	return v, r.Issues
}

// host resolves and checks a host name.
func (r *reader) host(path, name string, wildcard bool) string {
	if name != r.told {
		r.told, r.meant = name, values.Host(name, r.Namespace, r.Mesh.ClusterDomain)
	}
	host := r.meant
	if why := values.ValidHost(host, wildcard); why != "" {
		r.Errorf(path, "%q: %s", name, why)
	}
	return host
}

// at is a place on a list.
func (r *reader) at(path string, i int) string {
	if r.nowhere {
		return ""
	}
	return fields.At(path, i)
}
