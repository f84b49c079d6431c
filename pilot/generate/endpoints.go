package generate

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// projection is a view on one state of the endpoints.
type projection struct {
	name string
	set  *model.EndpointSet
	view upstream.EndpointView
}

// Endpoints returns the assignment of a cluster: set, which may be nil for a service without endpoints, as view sees it.
func Endpoints(name string, set *model.EndpointSet, view upstream.EndpointView, m *Memo) *wire.Resource {
	return m.endpoints.Get(projection{name, set, view}, func(p projection) *wire.Resource {
		m.projected++
		return upstream.Endpoints(p.name, p.set, p.view)
	})
}
