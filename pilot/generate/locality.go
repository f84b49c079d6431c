package generate

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// sights are what about a client's place any policy of a mesh looks at. Where none looks, clients share what they are told wherever they are.
type sights struct {
	locality, node bool
	labels         []string // sorted
	// resolved is whether clusters list endpoints in several places to be looked up.
	resolved bool
}

func sightsOf(s *model.Snapshot) sights {
	var out sights
	consider := func(l *model.LocalityPolicy, policy *model.TrafficPolicy) {
		if l == nil || l.Off || !upstream.Effective(l, policy) {
			return
		}
		out.locality = true
		for _, p := range l.Labels {
			switch {
			case p.Given, p.Key == model.LabelRegion, p.Key == model.LabelZone, p.Key == model.LabelSubzone, p.Key == model.LabelCluster:
			case p.Key == model.LabelHostname:
				out.node = true
			case !slices.Contains(out.labels, p.Key):
				out.labels = append(out.labels, p.Key)
			}
		}
	}
	plain := s.Mesh.Baseline
	if plain == nil {
		plain = &model.TrafficPolicy{}
	}
	for _, svc := range s.Services {
		consider(svc.Locality, plain)
		for _, list := range svc.DNSEndpoints {
			out.resolved = out.resolved || len(list) > 1
		}
	}
	consider(s.Mesh.Locality, plain)
	for _, rules := range s.DestinationRules {
		for _, rule := range rules {
			for policy := range everyPolicy(rule) {
				if policy.LoadBalancer.Locality != nil {
					consider(policy.LoadBalancer.Locality, policy)
				} else {
					consider(s.Mesh.Locality, policy)
				}
			}
		}
	}
	slices.Sort(out.labels)
	out.resolved = out.resolved && out.locality
	return out
}

// everyPolicy walks the policies of a rule.
func everyPolicy(rule *model.DestinationRule) func(func(*model.TrafficPolicy) bool) {
	return func(yield func(*model.TrafficPolicy) bool) {
		sets := []model.PolicySet{rule.Default}
		for _, s := range rule.Subsets {
			sets = append(sets, s.Policy)
		}
		for _, set := range sets {
			if set.All != nil && !yield(set.All) {
				return
			}
			for _, p := range set.Ports {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// vantage is where a workload is, as far as its mesh looks at that.
func (ix *Index) vantage(w *model.Workload, m *Memo) upstream.Vantage {
	var out upstream.Vantage
	if ix.sights.locality {
		out.Locality = w.Locality
	}
	if ix.sights.node {
		out.Node = w.Node
	}
	var labels []upstream.Label
	for _, key := range ix.sights.labels {
		if value, ok := w.Labels[key]; ok {
			labels = append(labels, upstream.Label{Key: key, Value: value})
		}
	}
	out.Labels = m.vantages.Of(labels)
	return out
}
