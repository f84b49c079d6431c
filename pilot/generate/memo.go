package generate

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/memo"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/nametable"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Memo remembers what generators made. It is used by one goroutine at a time.
type Memo struct {
	clusters    *memo.Memo[upstream.Cluster, *wire.Resource]
	hosts       *memo.Memo[routes.Host, *routes.VirtualHost]
	misdirected *memo.Memo[*intern.List[string], *routes.VirtualHost]
	routes      *memo.Memo[routes.Configuration, *wire.Resource]
	onDemand    *memo.Memo[routes.Configuration, *routes.OnDemand]
	listeners   *memo.Memo[listeners.Outbound, *wire.Resource]
	inbound     *memo.Memo[listeners.Inbound, *Set]
	edges       *memo.Memo[listeners.Gateway, *wire.Resource]
	fixed       *memo.Memo[upstream.Fixed, *wire.Resource]
	called      *memo.Memo[listeners.Called, *wire.Resource]
	endpoints   *memo.Memo[projection, *wire.Resource]
	names       *memo.Memo[nametable.Names, *wire.Resource]
	allocated   *memo.Memo[addressedService, *model.Service]
	observed    *memo.Memo[observe.Layers, *observe.Reports]
	projected   int // endpoints made since the last RoundEndpoints

	// reaches are the clusters of this round, by what they depend on. What they are made of is remembered one by one, so that a
	// change of one service costs no more than its clusters.
	reaches map[reachScope]*Reach

	reached    intern.Lists[reached]
	rules      intern.Lists[*model.DestinationRule]
	layers     intern.Lists[*model.Telemetry]
	policies   intern.Lists[*model.Authorization]
	services   intern.Lists[*model.Service]
	virtuals   intern.Lists[*model.VirtualService]
	strings    intern.Lists[string]
	targets    intern.Lists[routes.Target]
	chains     intern.Lists[listeners.Chain]
	weighted   intern.Lists[listeners.Weighted]
	ports      intern.Lists[listeners.Port]
	servers    intern.Lists[BoundServer]
	edgeChains intern.Lists[listeners.GatewayChain]
	vhosts     intern.Lists[*routes.VirtualHost]
	vantages   intern.Lists[upstream.Label]
	sets       intern.Lists[*model.EndpointSet]
}

// NewMemo returns an empty Memo.
func NewMemo() *Memo {
	return &Memo{
		clusters: memo.New[upstream.Cluster, *wire.Resource](), hosts: memo.New[routes.Host, *routes.VirtualHost](),
		misdirected: memo.New[*intern.List[string], *routes.VirtualHost](),
		onDemand:    memo.New[routes.Configuration, *routes.OnDemand](),
		routes:      memo.New[routes.Configuration, *wire.Resource](), listeners: memo.New[listeners.Outbound, *wire.Resource](),
		inbound: memo.New[listeners.Inbound, *Set](), edges: memo.New[listeners.Gateway, *wire.Resource](),
		fixed: memo.New[upstream.Fixed, *wire.Resource](), called: memo.New[listeners.Called, *wire.Resource](), endpoints: memo.New[projection, *wire.Resource](),
		reaches: map[reachScope]*Reach{}, reached: intern.New[reached](), rules: intern.New[*model.DestinationRule](), layers: intern.New[*model.Telemetry](),
		policies: intern.New[*model.Authorization](),
		services: intern.New[*model.Service](), virtuals: intern.New[*model.VirtualService](), strings: intern.New[string](),
		targets: intern.New[routes.Target](), chains: intern.New[listeners.Chain](), weighted: intern.New[listeners.Weighted](),
		ports: intern.New[listeners.Port](), servers: intern.New[BoundServer](), edgeChains: intern.New[listeners.GatewayChain](), vhosts: intern.New[*routes.VirtualHost](),
		vantages: intern.New[upstream.Label](), sets: intern.New[*model.EndpointSet](),
		observed: memo.New[observe.Layers, *observe.Reports](), names: memo.New[nametable.Names, *wire.Resource](), allocated: memo.New[addressedService, *model.Service](),
	}
}

// round is the part of a memo.Memo that does not depend on its types.
type round interface{ Round() (hits, misses int) }

// Round ends a generation: what it did not use is forgotten. It returns how often a resource was remembered and how often
// one had to be made. Endpoints are a lane of their own: see RoundEndpoints.
func (m *Memo) Round() (hits, misses int) {
	for _, r := range []round{m.clusters, m.hosts, m.misdirected, m.routes, m.onDemand, m.listeners, m.inbound, m.edges, m.fixed, m.called, m.names} {
		h, n := r.Round()
		hits, misses = hits+h, misses+n
	}
	m.allocated.Round()
	m.observed.Round()
	for _, r := range []round{
		m.reached, m.rules, m.policies, m.services, m.virtuals, m.strings, m.targets, m.chains,
		m.weighted, m.ports, m.servers, m.vhosts, m.edgeChains, m.vantages, m.sets, m.layers,
	} {
		r.Round()
	}
	clear(m.reaches)
	return hits, misses
}

// RoundEndpoints ends a round of the endpoint lane.
func (m *Memo) RoundEndpoints() (hits, misses int) {
	m.projected = 0
	return m.endpoints.Round()
}

// Projected returns how many assignments were made since the last RoundEndpoints.
func (m *Memo) Projected() int { return m.projected }
