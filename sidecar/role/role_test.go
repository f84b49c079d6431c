package role

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// TestOrder writes down in which order the parts of each role start; they stop in the opposite one.
func TestOrder(t *testing.T) {
	orders := map[string]string{
		wire.NodeSidecar: "takeover, admin, readiness, status, prometheus, access logs, spans, identity, memory, upstreams, discovery, names, listeners",
		wire.NodeRouter:  "takeover, admin, readiness, status, prometheus, access logs, spans, identity, memory, upstreams, discovery, listeners",
	}
	workload := identity.New(identity.Options{Expected: spiffe.Identity{}, Roots: identity.NewRoots("none"), Log: slog.New(slog.DiscardHandler)})
	e := engine.New(engine.Options{Node: discovery.Node{}, Identity: workload, Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}})
	for _, node := range []string{wire.NodeSidecar, wire.NodeRouter} {
		r, ok := ByNode(node)
		if !ok || r.Node != node || r.Gateway != (node == wire.NodeRouter) {
			t.Fatalf("%s: %+v", node, r)
		}
		var names []string
		for _, c := range r.Stack(e) {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, ", "); got != orders[node] {
			t.Errorf("%s starts %s", node, got)
		}
		if slices.Contains(r.Drains, exchange.Outbound) != r.Gateway {
			t.Errorf("%s drains %v: a sidecar's application may go on asking, a gateway serves nobody but clients", node, r.Drains)
		}
	}
	if _, ok := ByNode("waypoint"); ok {
		t.Error("a role that there is not")
	}
}

// TestListenersEndWhenTold holds that a stack which has nothing to serve ends at once.
func TestListenersEndWhenTold(t *testing.T) {
	workload := identity.New(identity.Options{Roots: identity.NewRoots("none"), Log: slog.New(slog.DiscardHandler)})
	e := engine.New(engine.Options{Identity: workload, Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}, Termination: engine.Termination{Alone: true}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Listeners().Run(ctx); err != nil {
		t.Error(err)
	}
}
