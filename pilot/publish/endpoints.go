package publish

import (
	"sync"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// maxProjected is how many assignments are made before those that nobody asked for are forgotten.
const maxProjected = 8192

// endpointTable makes the assignments that proxies ask for from the latest endpoints, each once.
type endpointTable struct {
	mu    sync.Mutex
	index *model.EndpointIndex
	memo  *generate.Memo
}

func newEndpointTable() *endpointTable { return &endpointTable{memo: generate.NewMemo()} }

func (t *endpointTable) known() bool { return t.current() != nil }

func (t *endpointTable) current() *model.EndpointIndex {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.index
}

// moved is a set of endpoints that became another; nil: there is none.
type moved struct {
	key         model.EndpointKey
	before, now *model.EndpointSet
}

// replace takes new endpoints and returns the sets that differ.
func (t *endpointTable) replace(next *model.EndpointIndex) []moved {
	t.mu.Lock()
	defer t.mu.Unlock()
	var changed []moved
	last := t.index
	t.index = next
	if last == nil {
		last = &model.EndpointIndex{}
		changed = append(changed, moved{}) // the first is news whatever it holds
	}
	for key, set := range next.Sets {
		if was := last.Sets[key]; was != set {
			changed = append(changed, moved{key, was, set})
		}
	}
	for key, was := range last.Sets {
		if next.Sets[key] == nil {
			changed = append(changed, moved{key, was, nil})
		}
	}
	return changed
}

// get returns the assignment of a cluster.
func (t *endpointTable) get(name string, view upstream.EndpointView) *wire.Resource {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.memo.Projected() > maxProjected {
		t.memo.RoundEndpoints()
	}
	return generate.Endpoints(name, t.index.Sets[view.Key], view, t.memo)
}
