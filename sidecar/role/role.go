// Package role says what each role of the proxy stacks, and in which order. It is the only place that knows roles; everything else is
// told what to do.
package role

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Role is what a proxy is for.
type Role struct {
	Node    string // node type
	Gateway bool
	Drains  []exchange.Direction // told to finish when draining begins
	// Stack lists the parts in the order in which they start; they stop in the opposite one.
	Stack func(*engine.Engine) []lifecycle.Component
}

// ByNode returns the role of a node type; ok is false where there is none.
func ByNode(node string) (r Role, ok bool) {
	switch node {
	case wire.NodeSidecar:
		return Sidecar(), true
	case wire.NodeRouter:
		return Gateway(), true
	}
	return Role{}, false
}
