package role

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Sidecar stands beside one application. Draining, it sends clients elsewhere; what the application itself asks goes on to the end.
func Sidecar() Role {
	return Role{Node: wire.NodeSidecar, Drains: []exchange.Direction{exchange.Inbound}, Stack: func(e *engine.Engine) []lifecycle.Component {
		return []lifecycle.Component{
			e.Takeover(),   // before any socket is opened: another process may have it
			e.Admin(),      // first to be seen: a proxy that does not come up can be asked why
			e.Readiness(),  // says no until all below is there
			e.Status(),     // the kubelet asks after the application from its first second
			e.Prometheus(), // nothing waits for it
			e.AccessLogs(), // before anything is to be logged, and stopped after the last request
			e.Spans(),      // the same
			e.Identity(),   // asked for at the same time as the configuration: neither needs the other
			e.Memory(),     // as long as anybody is served
			e.Upstreams(),  // resolves names for clusters as they come
			e.Discovery(),  // goes on while listeners drain: endpoints may still change
			e.Names(),      // the application asks to the end, and before its first connection
			e.Listeners(),  // last, so that stopping begins with draining
		}
	}}
}
