package peers

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// Meshed reports whether there are endpoints and all of them take mesh mTLS.
func (p *Rules) Meshed(set *model.EndpointSet) bool {
	return set != nil && len(set.Endpoints) > 0 && !slices.ContainsFunc(set.Endpoints, func(e *model.Endpoint) bool {
		return !e.MeshTLS || p.Mode(e.Workload.Namespace, e.Labels, e.Port) == model.MTLSDisable
	})
}

// Identities are the distinct identities of endpoints, in order of appearance.
func Identities(set *model.EndpointSet) []string {
	if set == nil {
		return nil
	}
	seen := map[string]bool{}
	var out []string
	for _, e := range set.Endpoints {
		if id := e.Identity.String(); id != "" && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// Differ reports whether a cluster says something else to a foreign proxy because of its endpoints.
func (p *Rules) Differ(before, now *model.EndpointSet) bool {
	return p.Meshed(before) != p.Meshed(now) || !slices.Equal(Identities(before), Identities(now))
}
