package istioapi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// MergeDelegates puts the routes of delegates in the place of the routes that name them, as Istio does: names are joined, what a
// delegate does not say it inherits, and a route whose conditions contradict the root's is left out.
func MergeDelegates(root *VirtualService, delegates map[model.Name]*VirtualService) (*model.VirtualService, []report.Issue) {
	log := &report.Log{}
	out := *root.VirtualService
	out.HTTP = nil
	for i, h := range root.HTTP {
		target, ok := root.Delegates[i]
		if !ok {
			own := *h
			own.Origin = &model.RuleOrigin{From: root.From, Index: i}
			out.HTTP = append(out.HTTP, &own)
			continue
		}
		path := fmt.Sprintf("spec.http[%d].delegate", i)
		d, ok := delegates[target]
		if !ok || !d.Export.To(root.From.Namespace) {
			log.Missingf(report.Partial, path, "no VirtualService %s without hosts is visible: the route is left out", target)
			continue
		}
		for j, leaf := range d.HTTP {
			merged := mergeRoute(h, leaf)
			if merged == nil {
				log.Partialf(path, "the conditions of spec.http[%d] in %s contradict those here: the route is left out", j, target)
				continue
			}
			mirrors := root.mirrors[i].under(d.mirrors[j])
			if merged.Mirrors = mirrors.all(); mirrors.lacks() {
				log.Warnf(path, "spec.http[%d] in %s: mirrorPercentage is without effect: there is no mirror, here or there", j, target)
			}
			merged.Origin = &model.RuleOrigin{From: target, Index: j}
			out.HTTP = append(out.HTTP, merged)
		}
	}
	return &out, log.Issues
}

// mergeRoute returns nil where the leaf asks for what the root does not send it.
func mergeRoute(root, leaf *model.HTTPRoute) *model.HTTPRoute {
	out := *leaf
	matches, ok := mergeMatches(root.Matches, leaf.Matches)
	if !ok {
		return nil
	}
	out.Matches = matches
	out.Name = strings.Trim(root.Name+"-"+leaf.Name, "-")
	if out.Rewrite == nil && len(out.Destinations) > 0 {
		out.Rewrite = root.Rewrite
	}
	if out.Timeout == nil {
		out.Timeout = root.Timeout
	}
	if out.Retry == nil {
		out.Retry = root.Retry
	}
	if out.Fault == nil {
		out.Fault = root.Fault
	}
	if out.CORS == nil {
		out.CORS = root.CORS
	}
	if noHeaders(out.Headers) {
		out.Headers = root.Headers
	}
	return &out
}

func noHeaders(h model.Headers) bool {
	return len(h.RequestSet)+len(h.RequestAdd)+len(h.RequestRemove)+len(h.ResponseSet)+len(h.ResponseAdd)+len(h.ResponseRemove) == 0 && h.Host == ""
}

// mergeMatches narrows the root's blocks by the leaf's, each of which must fit into one of the root's: with one that does not, the route is not
// what its author wrote.
func mergeMatches(root, leaf []*model.HTTPMatch) ([]*model.HTTPMatch, bool) {
	if len(root) == 0 {
		return leaf, true
	}
	if len(leaf) == 0 {
		return root, true
	}
	var out []*model.HTTPMatch
	for _, l := range leaf {
		before := len(out)
		for _, r := range root {
			if m, ok := mergeMatch(r, l); ok {
				out = append(out, m)
			}
		}
		if len(out) == before {
			return nil, false
		}
	}
	return out, true
}

// mergeMatch is both blocks in one, the leaf's being the narrower; false where they contradict each other.
func mergeMatch(root, leaf *model.HTTPMatch) (*model.HTTPMatch, bool) {
	out := *leaf
	out.Name = strings.Trim(root.Name+"-"+leaf.Name, "-")
	ok := narrower(root.Path, &out.Path) && narrower(root.Method, &out.Method) && narrower(root.Scheme, &out.Scheme) && narrower(root.Authority, &out.Authority)
	ok = ok && (root.Port == 0 || leaf.Port == 0 || root.Port == leaf.Port)
	ok = ok && (root.Source.Namespace == "" || leaf.Source.Namespace == "" || root.Source.Namespace == leaf.Source.Namespace)
	for k, v := range root.Source.Labels {
		if got, there := leaf.Source.Labels[k]; there && got != v {
			ok = false
		}
	}
	for _, g := range leaf.Gateways {
		ok = ok && (len(root.Gateways) == 0 || slices.Contains(root.Gateways, g))
	}
	var fits [2]bool
	out.Headers, fits[0] = mergeKeys(root.Headers, leaf.Headers)
	out.Query, fits[1] = mergeKeys(root.Query, leaf.Query)
	if !ok || !fits[0] || !fits[1] {
		return nil, false
	}
	if out.Port == 0 {
		out.Port = root.Port
	}
	if out.StatPrefix == "" {
		out.StatPrefix = root.StatPrefix
	}
	if out.Source.Namespace == "" {
		out.Source.Namespace = root.Source.Namespace
	}
	if len(root.Source.Labels) > 0 {
		labels := model.Selector{}
		for _, from := range []model.Selector{root.Source.Labels, leaf.Source.Labels} {
			for k, v := range from {
				labels[k] = v
			}
		}
		out.Source.Labels = labels
	}
	if len(out.Gateways) == 0 {
		out.Gateways = root.Gateways
	}
	return &out, true
}

func mergeKeys(root, leaf []model.KeyMatch) ([]model.KeyMatch, bool) {
	out := slices.Clone(leaf)
	for _, r := range root {
		i := slices.IndexFunc(leaf, func(l model.KeyMatch) bool { return l.Key == r.Key && l.Invert == r.Invert })
		if i < 0 {
			out = append(out, r)
			continue
		}
		if m := &leaf[i].Match; !compatible(&r.Match, m) {
			return nil, false
		}
	}
	slices.SortStableFunc(out, func(a, b model.KeyMatch) int { return strings.Compare(a.Key, b.Key) })
	return out, true
}

// narrower keeps the leaf's matcher, or takes the root's where the leaf has none.
func narrower(root *model.StringMatch, leaf **model.StringMatch) bool {
	if *leaf == nil {
		*leaf = root
		return true
	}
	return root == nil || compatible(root, *leaf)
}

// compatible reports whether the leaf's values are among the root's. Expressions are never compared.
func compatible(root, leaf *model.StringMatch) bool {
	switch {
	case root.IgnoreCase != leaf.IgnoreCase:
		return false
	case root.Kind == model.MatchPresent:
		return true
	case root.Kind == model.MatchExact:
		return leaf.Kind == model.MatchExact && leaf.Value == root.Value
	case root.Kind == model.MatchPrefix && (leaf.Kind == model.MatchPrefix || leaf.Kind == model.MatchExact):
		return strings.HasPrefix(leaf.Value, root.Value)
	}
	return false
}
