package routes

import (
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Client is what about a client decides which rules are for it.
type Client struct {
	Namespace string
	Sources   *intern.List[string] // the label conditions that hold for it
}

// SourceKey spells a label condition.
func SourceKey(labels model.Selector) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

// Holds reports whether a rule for certain sources is meant for the client.
func (c Client) Holds(s model.Source) bool {
	if s.Namespace != "" && s.Namespace != c.Namespace {
		return false
	}
	if len(s.Labels) == 0 {
		return true
	}
	key := SourceKey(s.Labels)
	for held := range c.Sources.All {
		if held == key {
			return true
		}
	}
	return false
}

// Sources are the conditions of one VirtualService that limit it to certain clients.
func Sources(vs *model.VirtualService) []model.Source {
	var out []model.Source
	for _, r := range vs.HTTP {
		for _, m := range r.Matches {
			out = append(out, m.Source)
		}
	}
	for _, r := range vs.TLS {
		for _, m := range r.Matches {
			out = append(out, m.Source)
		}
	}
	for _, r := range vs.TCP {
		for _, m := range r.Matches {
			out = append(out, m.Source)
		}
	}
	return out
}

// Conditional reports whether a VirtualService has rules for certain clients only.
func Conditional(vs *model.VirtualService) bool {
	for _, s := range Sources(vs) {
		if s.Namespace != "" || len(s.Labels) > 0 {
			return true
		}
	}
	return false
}
