package translate

import (
	"slices"

	"github.com/heddle-mesh/heddle/internal/memo"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
)

// rulePair is two rules for one host, to be merged.
type rulePair struct{ older, younger *istioapi.DestinationRule }

// ruleMemo remembers merged and completed DestinationRules.
type ruleMemo struct {
	merged   *memo.Memo[rulePair, *istioapi.DestinationRule]
	complete *memo.Memo[*istioapi.DestinationRule, *model.DestinationRule]
	pool     *pool[model.Name, *model.DestinationRule] // by the first object
	last     map[string][]*model.DestinationRule       // of the last call, by namespace
	same     bool                                      // this call's are those
}

func newRuleMemo() *ruleMemo {
	return &ruleMemo{
		merged:   memo.New[rulePair, *istioapi.DestinationRule](),
		complete: memo.New[*istioapi.DestinationRule, *model.DestinationRule](),
		pool:     newPool[model.Name, *model.DestinationRule](),
	}
}

func (m *ruleMemo) round() {
	if m.same {
		m.same = false
		return
	}
	m.merged.Round()
	m.complete.Round()
	m.pool.round()
}

// place is where rules are merged: one namespace's for a host.
type place struct{ namespace, host string }

// placed are rules by place. Nearly all places have one.
type placed struct {
	single  map[place]*istioapi.DestinationRule
	several map[place][]*istioapi.DestinationRule
}

// destinationRules translates DestinationRules and merges those of one host and namespace.
func (r *run) destinationRules() {
	all, read := r.memo.destinationRules.all(r.in.DestinationRules, r.mesh, func(o *inputs.DestinationRule) *result[*istioapi.DestinationRule] {
		v, issues := istioapi.ReadDestinationRule(o, r.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		r.judge(all[i], res.entry, &res.kept)
	}
	memo := r.memo.rules
	memo.same = r.memo.destinationRules.same && r.owned == nil // whom rules spare depends on the Services
	if memo.same {
		r.snap.DestinationRules = memo.last
		return
	}
	rules := placed{make(map[place]*istioapi.DestinationRule, len(read)), map[place][]*istioapi.DestinationRule{}}
	for i, res := range read {
		if res.entry.State != report.Refused {
			r.mergeInto(&rules, place{all[i].Namespace, res.value.Host}, res.value)
		}
	}
	for at, rule := range rules.single {
		r.complete(at, rule)
	}
	for at, list := range rules.several {
		for _, rule := range list {
			r.complete(at, rule)
		}
	}
	for _, list := range r.snap.DestinationRules {
		slices.SortStableFunc(list, func(a, b *model.DestinationRule) int {
			return model.CompareHosts(a.Host, b.Host) // of equal hosts the older stays first
		})
	}
	memo.last = r.snap.DestinationRules
}

// complete adds a merged rule to the snapshot.
func (r *run) complete(at place, rule *istioapi.DestinationRule) {
	memo := r.memo.rules
	done := memo.complete.Get(rule, func(rule *istioapi.DestinationRule) *model.DestinationRule {
		return memo.pool.intern(rule.From[0], rule.Complete())
	})
	memo.pool.now[rule.From[0]] = done
	r.snap.DestinationRules[at.namespace] = append(r.snap.DestinationRules[at.namespace], r.sparing(done))
}

// mergeInto adds a rule to the older ones of its place.
func (r *run) mergeInto(rules *placed, at place, rule *istioapi.DestinationRule) {
	older := rules.single[at]
	list := rules.several[at]
	switch {
	case older == nil && list == nil:
		rules.single[at] = rule
		return
	case older != nil:
		list = []*istioapi.DestinationRule{older}
		delete(rules.single, at)
	}
	rules.several[at] = r.mergeRule(list, rule)
}

// mergeRule adds a rule to the older ones of its host: to the first that it may be merged into, or beside them. What is left out of it
// then, Checker tells.
func (r *run) mergeRule(list []*istioapi.DestinationRule, rule *istioapi.DestinationRule) []*istioapi.DestinationRule {
	for i, older := range list {
		if !older.Mergeable(rule) {
			continue
		}
		list[i] = r.memo.rules.merged.Get(rulePair{older, rule}, func(p rulePair) *istioapi.DestinationRule { return p.older.Merge(p.younger) })
		return list
	}
	return append(list, rule)
}
