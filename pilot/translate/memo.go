package translate

import (
	"reflect"

	"github.com/heddle-mesh/heddle/internal/memo"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/allocate"
	"github.com/heddle-mesh/heddle/pilot/translate/ingress"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Memo remembers translations from one call to the next. It makes them faster and keeps pointers: an object whose meaning did
// not change keeps its pointer. It never changes a result. It serves one caller at a time.
type Memo struct {
	mesh             *model.Mesh
	services         *stage[*corev1.Service, *model.Service]
	entries          *stage[*inputs.ServiceEntry, *registry.ServiceEntry]
	workloads        *stage[*inputs.WorkloadEntry, *registry.WorkloadEntry]
	virtualServices  *stage[*inputs.VirtualService, *istioapi.VirtualService]
	destinationRules *stage[*inputs.DestinationRule, *istioapi.DestinationRule]
	gateways         *stage[*inputs.Gateway, *model.Gateway]
	sidecars         *stage[*inputs.Sidecar, *model.Sidecar]
	peers            *stage[*inputs.PeerAuthentication, *model.PeerAuthentication]
	policies         *stage[*inputs.AuthorizationPolicy, *model.Authorization]
	telemetries      *stage[*inputs.Telemetry, *model.Telemetry]
	proxyConfigs     *stage[*inputs.ProxyConfig, *model.ProxyConfig]
	distributed      *pool[model.Name, *model.Service]
	allocated        *pool[allocate.Host, *model.Service]
	joined           *pool[allocate.Host, *model.Service]
	delegated        *pool[model.Name, *model.VirtualService]
	ingresses        *stage[*inputs.Ingress, *ingress.Ingress]
	sites            *pool[string, *model.VirtualService] // of Ingresses, by host
	edge             *pool[model.Name, *model.Gateway]    // of Ingresses
	rules            *ruleMemo
	checker          *Checker
	report           order[*report.Entry]
	halves           *pool[half, *model.VirtualService]
	sparing          *pool[model.Name, *model.DestinationRule]
	selecting        *pool[allocate.Host, *model.Service] // of ServiceEntries whose selected endpoints are looked up
	behind           *memo.Memo[selection, []*model.Service]
	around           surroundings
}

// Checker judges single objects by the mesh of the last translation, and before the first by themselves only.
func (m *Memo) Checker() *Checker {
	if m.checker == nil {
		return NewChecker()
	}
	return m.checker
}

// NewMemo returns a Memo that remembers nothing.
func NewMemo() *Memo {
	return &Memo{
		services:         newStage[*corev1.Service, *model.Service](),
		entries:          newStage[*inputs.ServiceEntry, *registry.ServiceEntry](),
		workloads:        newStage[*inputs.WorkloadEntry, *registry.WorkloadEntry](),
		virtualServices:  newStage[*inputs.VirtualService, *istioapi.VirtualService](),
		destinationRules: newStage[*inputs.DestinationRule, *istioapi.DestinationRule](),
		gateways:         newStage[*inputs.Gateway, *model.Gateway](),
		sidecars:         newStage[*inputs.Sidecar, *model.Sidecar](),
		peers:            newStage[*inputs.PeerAuthentication, *model.PeerAuthentication](),
		policies:         newStage[*inputs.AuthorizationPolicy, *model.Authorization](),
		telemetries:      newStage[*inputs.Telemetry, *model.Telemetry](),
		proxyConfigs:     newStage[*inputs.ProxyConfig, *model.ProxyConfig](),
		distributed:      newPool[model.Name, *model.Service](),
		allocated:        newPool[allocate.Host, *model.Service](),
		joined:           newPool[allocate.Host, *model.Service](),
		delegated:        newPool[model.Name, *model.VirtualService](),
		ingresses:        newStage[*inputs.Ingress, *ingress.Ingress](),
		sites:            newPool[string, *model.VirtualService](),
		edge:             newPool[model.Name, *model.Gateway](),
		rules:            newRuleMemo(),
		halves:           newPool[half, *model.VirtualService](),
		sparing:          newPool[model.Name, *model.DestinationRule](),
		selecting:        newPool[allocate.Host, *model.Service](),
		behind:           memo.New[selection, []*model.Service](),
	}
}

// round forgets what the last call did not use.
func (m *Memo) round() {
	for _, s := range []interface{ round() }{m.distributed, m.allocated, m.joined, m.delegated, m.sites, m.edge, m.halves, m.sparing, m.selecting} {
		s.round()
	}
	m.behind.Round()
}

// pool keeps equal values of one name the same, from round to round.
type pool[K comparable, V any] struct{ last, now map[K]V }

func newPool[K comparable, V any]() *pool[K, V] { return &pool[K, V]{now: map[K]V{}} }

// intern returns the value of the round before if v equals it.
func (p *pool[K, V]) intern(k K, v V) V {
	if old, ok := p.last[k]; ok && reflect.DeepEqual(old, v) {
		v = old
	}
	p.now[k] = v
	return v
}

func (p *pool[K, V]) round() { p.last, p.now = p.now, make(map[K]V, len(p.now)) }

// object is what people write, by identity.
type object interface {
	comparable
	metav1.Object
}

// result is what became of one object, and what the mesh has to say about it.
type result[V any] struct {
	value V
	entry *report.Entry
	kept  kept
}

func resultOf[V any](v V, e *report.Entry) *result[V] { return &result[V]{value: v, entry: e} }

// stage remembers the translations of one kind.
type stage[O object, V any] struct {
	ages order[O]
	mesh *model.Mesh
	read []*result[V] // by age, with these settings
	// before is, while all translates, what objects were translated to the last time that are now others, or to be read with other settings.
	before map[model.Name]V
	same   bool // the last all returned what the one before did
}

func newStage[O object, V any]() *stage[O, V] { return &stage[O, V]{} }

// all translates the objects of a kind, the oldest first. It is for once in a round. build is called for several at once. What all returns is not to be
// changed.
func (s *stage[O, V]) all(list []O, m *model.Mesh, build func(O) *result[V]) ([]O, []*result[V]) {
	was := s.ages.sorted
	sorted, added, same := s.ages.of(list, byAge)
	if s.same = same && s.mesh == m; s.same {
		return sorted, s.read
	}
	if same { // with other settings
		added = nil
	}
	s.read, s.before = s.carried(was, sorted, added, s.mesh == m)
	s.mesh = m
	var todo []int
	for i := range sorted {
		if s.read[i] == nil {
			todo = append(todo, i)
		}
	}
	abreast(len(todo), func(i int) {
		o := sorted[todo[i]]
		r := build(o)
		if old, known := s.before[nameOf(o)]; known && equal(old, r.value) {
			r.value = old
		}
		s.read[todo[i]] = r
	})
	s.before = nil
	return sorted, s.read
}

// carried are the results of objects that were there before, if they stay, and what was said otherwise. Both lists are by age, so that who is in both
// is found in passing.
func (s *stage[O, V]) carried(was, sorted, added []O, stay bool) (read []*result[V], before map[model.Name]V) {
	read, before = make([]*result[V], len(sorted)), map[model.Name]V{}
	left := 0
	leave := func() {
		before[nameOf(was[left])] = s.read[left].value
		left++
	}
	for i, o := range sorted {
		if len(added) > 0 && added[0] == o {
			added = added[1:]
			continue
		}
		for was[left] != o {
			leave()
		}
		if !stay {
			leave()
			continue
		}
		read[i] = s.read[left]
		left++
	}
	for left < len(was) {
		leave()
	}
	return read, before
}

// equal compares by content.
func equal(a, b any) bool { return reflect.DeepEqual(a, b) }
