package translate

import (
	"slices"

	"github.com/heddle-mesh/heddle/internal/memo"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
)

// ruleMemo remembers merged and completed DestinationRules, by namespace: rules of different ones are never merged.
type ruleMemo struct {
	spaces map[string]*ruleSpace
	last   map[string][]*model.DestinationRule // of the last call
}

func newRuleMemo() *ruleMemo { return &ruleMemo{spaces: map[string]*ruleSpace{}} }

// ruleSpace is one namespace's rules.
type ruleSpace struct {
	given    []*istioapi.DestinationRule // the oldest first
	done     []*model.DestinationRule    // by host
	merged   *memo.Memo[rulePair, *istioapi.DestinationRule]
	complete *memo.Memo[*istioapi.DestinationRule, *model.DestinationRule]
	pool     *pool[model.Name, *model.DestinationRule] // by the first object
}

// rulePair is two rules for one host, to be merged.
type rulePair struct{ older, younger *istioapi.DestinationRule }

func newRuleSpace() *ruleSpace {
	return &ruleSpace{
		merged:   memo.New[rulePair, *istioapi.DestinationRule](),
		complete: memo.New[*istioapi.DestinationRule, *model.DestinationRule](),
		pool:     newPool[model.Name, *model.DestinationRule](),
	}
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
	if r.memo.destinationRules.same && r.owned == nil { // whom rules spare depends on the Services
		r.snap.DestinationRules = memo.last
		return
	}
	given := make(map[string][]*istioapi.DestinationRule, len(memo.spaces))
	for i, res := range read {
		if res.entry.State != report.Refused {
			given[all[i].Namespace] = append(given[all[i].Namespace], res.value)
		}
	}
	before := memo.spaces
	memo.spaces = make(map[string]*ruleSpace, len(given))
	for namespace, list := range given {
		space := before[namespace]
		if space == nil {
			space = newRuleSpace()
		}
		space.update(list)
		memo.spaces[namespace] = space
		r.snap.DestinationRules[namespace] = r.spared(space.done)
	}
	memo.last = r.snap.DestinationRules
}

// update merges and completes the rules of the namespace, unless they are those of the last call.
func (s *ruleSpace) update(given []*istioapi.DestinationRule) {
	if slices.Equal(s.given, given) {
		return
	}
	s.given, s.done = given, make([]*model.DestinationRule, 0, len(given))
	single := make(map[string]*istioapi.DestinationRule, len(given))
	several := map[string][]*istioapi.DestinationRule{} // hosts that have more than one
	for _, rule := range given {
		older, list := single[rule.Host], several[rule.Host]
		switch {
		case older == nil && list == nil:
			single[rule.Host] = rule
			continue
		case older != nil:
			list = []*istioapi.DestinationRule{older}
			delete(single, rule.Host)
		}
		several[rule.Host] = s.merge(list, rule)
	}
	for _, rule := range single {
		s.finish(rule)
	}
	for _, list := range several {
		for _, rule := range list {
			s.finish(rule)
		}
	}
	slices.SortStableFunc(s.done, func(a, b *model.DestinationRule) int {
		return model.CompareHosts(a.Host, b.Host) // of equal hosts the older stays first
	})
	s.merged.Round()
	s.complete.Round()
	s.pool.round()
}

// merge adds a rule to the older ones of its host: to the first that it may be merged into, or beside them. What is left out of it
// then, Checker tells.
func (s *ruleSpace) merge(list []*istioapi.DestinationRule, rule *istioapi.DestinationRule) []*istioapi.DestinationRule {
	for i, older := range list {
		if !older.Mergeable(rule) {
			continue
		}
		list[i] = s.merged.Get(rulePair{older, rule}, func(p rulePair) *istioapi.DestinationRule { return p.older.Merge(p.younger) })
		return list
	}
	return append(list, rule)
}

// finish completes a merged rule.
func (s *ruleSpace) finish(rule *istioapi.DestinationRule) {
	done := s.complete.Get(rule, func(rule *istioapi.DestinationRule) *model.DestinationRule {
		return s.pool.intern(rule.From[0], rule.Complete())
	})
	s.pool.now[rule.From[0]] = done
	s.done = append(s.done, done)
}
