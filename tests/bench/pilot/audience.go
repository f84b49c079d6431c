package main

import (
	"fmt"
	"strings"
)

// audience is what the clients of a row are.
type audience struct {
	name string
	// ours has them announce themselves as proxies of ours; otherwise they are stock Envoys.
	ours bool
	// scoped has a Sidecar in each namespace import a few services.
	scoped bool
	// onDemand has each ask for the few services that it uses.
	onDemand bool
	// must is how much of istiod's figure one of theirs may be; 0: it is not judged.
	must func(column) float64
}

// audiences are all that there are.
func audiences() []audience {
	never := func(column) float64 { return 0 }
	return []audience{
		{name: "envoy", must: func(c column) float64 { return c.must }},
		{name: "scoped", scoped: true, must: never},
		{name: "ondemand", ours: true, onDemand: true, must: func(c column) float64 { return c.onDemand }},
		{name: "heddle", ours: true, must: never},
	}
}

// peer is what the clients of istiod are that these are compared with. It knows nothing of ours: these are compared with Envoys that are told everything.
func (a audience) peer() audience {
	if a.ours {
		return audiences()[0]
	}
	return a
}

// title says it in words.
func (a audience) title(few int) string {
	switch {
	case a.scoped:
		return fmt.Sprintf("stock Envoys, whose Sidecar imports %d services", few)
	case a.onDemand:
		return fmt.Sprintf("proxies of ours on demand, which use %d services", few)
	case a.ours:
		return "proxies of ours, which are told everything"
	}
	return "stock Envoys, which are told everything"
}

// parseAudiences reads names, comma-separated.
func parseAudiences(text string) ([]audience, error) {
	var out []audience
	var names []string
	for _, word := range strings.Split(text, ",") {
		found := false
		for _, a := range audiences() {
			if a.name == word {
				out, found = append(out, a), true
			}
		}
		if !found {
			for _, a := range audiences() {
				names = append(names, a.name)
			}
			return nil, fmt.Errorf("-clients %q: there are %s", word, strings.Join(names, ", "))
		}
	}
	return out, nil
}
