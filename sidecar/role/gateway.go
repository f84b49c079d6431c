package role

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Gateway stands alone at an edge. All it serves comes from outside, so draining concerns everything.
func Gateway() Role {
	return Role{Node: wire.NodeRouter, Gateway: true, Drains: []exchange.Direction{exchange.Inbound, exchange.Outbound},
		Stack: func(e *engine.Engine) []lifecycle.Component {
			return []lifecycle.Component{
				e.Takeover(),   // before any socket is opened: another process may have it
				e.Admin(),      // first to be seen: a proxy that does not come up can be asked why
				e.Readiness(),  // load balancers look here
				e.Status(),     // metrics and readiness; there is no application to probe
				e.Prometheus(), // nothing waits for it
				e.AccessLogs(), // before anything is to be logged, and stopped after the last request
				e.Spans(),      // the same
				e.Identity(),   // towards workloads; certificates for clients come as secrets
				e.Memory(),     // as long as anybody is served
				e.Upstreams(),  // resolves names for clusters as they come
				e.Discovery(),  // goes on while listeners drain
				e.Listeners(),  // last, so that stopping begins with draining
			}
		}}
}
