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
	root     string                      // the mesh's root namespace
	given    []*istioapi.DestinationRule // the oldest first
	done     []*model.DestinationRule    // by host
	merged   *memo.Memo[rulePair, *istioapi.DestinationRule]
	complete *memo.Memo[obeyed, *model.DestinationRule]
	pool     *pool[model.Name, *model.DestinationRule] // by the first object
}

// rulePair is two rules for one host, to be merged.
type rulePair struct{ older, younger *istioapi.DestinationRule }

// obeyed is a merged rule and who obeys it.
type obeyed struct {
	rule    *istioapi.DestinationRule
	clients model.RuleClients
}

func newRuleSpace() *ruleSpace {
	return &ruleSpace{
		merged:   memo.New[rulePair, *istioapi.DestinationRule](),
		complete: memo.New[obeyed, *model.DestinationRule](),
		pool:     newPool[model.Name, *model.DestinationRule](),
	}
}

// destinationRules translates DestinationRules and merges those of one host and namespace.
func (r *run) destinationRules() {
	all, read := r.memo.destinationRules.all(r.in.DestinationRules, r.mesh, func(o *inputs.DestinationRule) *result[*istioapi.DestinationRule] {
		v, issues := istioapi.ReadDestinationRule(o, r.mesh)
		return resultOf(v, entryOfRule(o, v, issues))
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
		space.update(list, r.mesh.RootNamespace)
		memo.spaces[namespace] = space
		r.snap.DestinationRules[namespace] = r.spared(space.done)
	}
	memo.last = r.snap.DestinationRules
}

// entryOfRule is entryOf for a rule that is closed where it must not be left out.
func entryOfRule(o *inputs.DestinationRule, rule *istioapi.DestinationRule, issues []report.Issue) *report.Entry {
	e := entryOf(o, issues)
	if rule.Closed {
		e.State = report.Closed
	}
	return e
}

// update merges and completes the rules of the namespace, unless they are those of the last call.
func (s *ruleSpace) update(given []*istioapi.DestinationRule, root string) {
	if slices.Equal(s.given, given) && s.root == root {
		return
	}
	s.root, s.given, s.done = root, given, make([]*model.DestinationRule, 0, len(given))
	byHost := make(map[string][]*istioapi.DestinationRule, len(given))
	for i, rule := range given {
		if list := byHost[rule.Host]; list != nil {
			byHost[rule.Host] = append(list, rule)
		} else {
			byHost[rule.Host] = given[i : i+1 : i+1]
		}
	}
	for _, rules := range byHost {
		if len(rules) > 1 {
			s.contend(rules)
		} else {
			s.finish(rules[0], model.AllClients)
		}
	}
	slices.SortStableFunc(s.done, func(a, b *model.DestinationRule) int {
		return model.CompareHosts(a.Host, b.Host) // of equal hosts the last is obeyed
	})
	s.merged.Round()
	s.complete.Round()
	s.pool.round()
}

// contend finds out which of the rules for one host, the oldest first, are obeyed: of those that select workloads the first, of the others the last, at
// home as well as by clients elsewhere, of those that are exported to them.
func (s *ruleSpace) contend(rules []*istioapi.DestinationRule) {
	var selecting, exported []*istioapi.DestinationRule
	var own *istioapi.DestinationRule // obeyed at home
	namespace := rules[0].From[0].Namespace
	for _, rule := range rules {
		switch {
		case rule.Selector != nil:
			selecting = s.beside(selecting, rule)
			continue
		case own != nil && s.atHome(rule) && own.Mergeable(rule):
			own = s.merge(own, rule)
		case s.atHome(rule):
			own = rule
		}
		if !rule.Export.Only(namespace) {
			exported = s.export(exported, rule)
		}
	}
	s.left(rules, append(append(slices.Clone(selecting), exported...), own))
	for _, rule := range selecting {
		s.finish(rule, model.AllClients)
	}
	for _, rule := range exported {
		if rule != own && s.atHome(rule) {
			s.finish(rule, model.OtherClients)
		} else {
			s.finish(rule, model.AllClients)
		}
	}
	switch {
	case own == nil || slices.Contains(exported, own):
	case own.Export.Only(namespace):
		s.finish(own, model.AllClients)
	default:
		s.finish(own, model.OwnClients)
	}
}

// atHome reports whether a rule is among those that clients of its own namespace look for.
func (s *ruleSpace) atHome(rule *istioapi.DestinationRule) bool {
	return (&model.DestinationRule{Export: rule.Export}).AtHome(rule.From[0].Namespace, s.root)
}

// beside adds a rule to the first that it may be merged into, or to the list.
func (s *ruleSpace) beside(list []*istioapi.DestinationRule, rule *istioapi.DestinationRule) []*istioapi.DestinationRule {
	for i, older := range list {
		if older.Mergeable(rule) {
			list[i] = s.merge(older, rule)
			return list
		}
	}
	return append(list, rule)
}

// export merges a rule into each that it may be merged into. Unless the last is one of these, it is obeyed by itself; else only by clients whom it reaches
// and they do not.
func (s *ruleSpace) export(list []*istioapi.DestinationRule, rule *istioapi.DestinationRule) []*istioapi.DestinationRule {
	first, apart, covered := -1, true, false
	for i, older := range list {
		if apart = !older.Mergeable(rule); apart {
			continue
		}
		if list[i] = s.merge(older, rule); first < 0 {
			first = i
		}
		covered = covered || rule.Export.Within(older.Export)
	}
	switch {
	case apart:
		list = slices.DeleteFunc(list, func(o *istioapi.DestinationRule) bool { return o.Export.Within(rule.Export) }) // nobody obeys it any more
		return append(list, rule)
	case !covered:
		return slices.Insert(list, first, rule)
	}
	return list
}

func (s *ruleSpace) merge(older, younger *istioapi.DestinationRule) *istioapi.DestinationRule {
	return s.merged.Get(rulePair{older, younger}, func(p rulePair) *istioapi.DestinationRule { return p.older.Merge(p.younger) })
}

// left finishes the rules that are in none of those which are obeyed.
func (s *ruleSpace) left(rules, obeyed []*istioapi.DestinationRule) {
	for _, rule := range rules {
		has := func(o *istioapi.DestinationRule) bool { return o != nil && slices.Contains(o.From, rule.From[0]) }
		if !slices.ContainsFunc(obeyed, has) {
			s.finish(rule, model.NoClients)
		}
	}
}

// finish completes a merged rule.
func (s *ruleSpace) finish(rule *istioapi.DestinationRule, clients model.RuleClients) {
	done := s.complete.Get(obeyed{rule, clients}, func(o obeyed) *model.DestinationRule {
		return s.pool.intern(rule.From[0], rule.Complete(clients))
	})
	s.pool.now[rule.From[0]] = done
	s.done = append(s.done, done)
}
