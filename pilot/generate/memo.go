package generate

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/memo"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Memo remembers what generators made. It is used by one goroutine at a time.
type Memo struct {
	clusters  *memo.Memo[Cluster, *wire.Resource]
	hosts     *memo.Memo[Host, *virtualHost]
	routes    *memo.Memo[Routes, *wire.Resource]
	listeners *memo.Memo[Listener, *wire.Resource]
	inbound   *memo.Memo[Inbound, *Set]
	edges     *memo.Memo[EdgeListener, *wire.Resource]
	fixed     *memo.Memo[fixed, *wire.Resource]
	endpoints *memo.Memo[projection, *wire.Resource]
	projected int // endpoints made since the last RoundEndpoints

	// reaches are the clusters of this round, by what they depend on. What they are made of is remembered one by one, so that a
	// change of one service costs no more than its clusters.
	reaches map[reachScope]*Reach

	reached    lists[reached]
	rules      lists[*model.DestinationRule]
	policies   lists[*model.Authorization]
	services   lists[*model.Service]
	virtuals   lists[*model.VirtualService]
	strings    lists[string]
	targets    lists[target]
	chains     lists[l4Chain]
	weighted   lists[weighted]
	ports      lists[inboundPort]
	servers    lists[BoundServer]
	edgeChains lists[edgeChain]
	vhosts     lists[*virtualHost]
}

// NewMemo returns an empty Memo.
func NewMemo() *Memo {
	return &Memo{
		clusters: memo.New[Cluster, *wire.Resource](), hosts: memo.New[Host, *virtualHost](),
		routes: memo.New[Routes, *wire.Resource](), listeners: memo.New[Listener, *wire.Resource](),
		inbound: memo.New[Inbound, *Set](), edges: memo.New[EdgeListener, *wire.Resource](),
		fixed: memo.New[fixed, *wire.Resource](), endpoints: memo.New[projection, *wire.Resource](),
		reaches: map[reachScope]*Reach{}, reached: newLists[reached](), rules: newLists[*model.DestinationRule](), policies: newLists[*model.Authorization](),
		services: newLists[*model.Service](), virtuals: newLists[*model.VirtualService](), strings: newLists[string](),
		targets: newLists[target](), chains: newLists[l4Chain](), weighted: newLists[weighted](),
		ports: newLists[inboundPort](), servers: newLists[BoundServer](), edgeChains: newLists[edgeChain](), vhosts: newLists[*virtualHost](),
	}
}

// round is the part of a memo.Memo that does not depend on its types.
type round interface{ Round() (hits, misses int) }

// Round ends a generation: what it did not use is forgotten. It returns how often a resource was remembered and how often
// one had to be made. Endpoints are a lane of their own: see RoundEndpoints.
func (m *Memo) Round() (hits, misses int) {
	for _, r := range []round{m.clusters, m.hosts, m.routes, m.listeners, m.inbound, m.edges, m.fixed} {
		h, n := r.Round()
		hits, misses = hits+h, misses+n
	}
	for _, r := range []round{
		m.reached.cells, m.rules.cells, m.policies.cells, m.services.cells, m.virtuals.cells, m.strings.cells, m.targets.cells, m.chains.cells,
		m.weighted.cells, m.ports.cells, m.servers.cells, m.vhosts.cells, m.edgeChains.cells,
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
