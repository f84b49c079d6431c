package listeners

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/generate/intern"
)

// claim is a server name at a destination; "" stands for any.
type claim struct{ subnet, name string }

// Distinct takes from each chain what an earlier one claims: the first rule for a connection decides, and a proxy refuses chains that overlap.
func Distinct(chains []Chain, strings intern.Lists[string]) []Chain {
	claimed := map[claim]bool{}
	var out []Chain
	for _, c := range chains {
		var groups []Chain // parts of c, of the same names each
		for _, subnet := range orAny(c.Subnets) {
			var left []string
			for _, name := range orAny(c.Names) {
				if at := (claim{subnet, name}); !claimed[at] {
					claimed[at] = true
					left = append(left, name)
				}
			}
			groups = join(groups, c, subnet, left, strings)
		}
		out = append(out, groups...)
	}
	return out
}

// join adds names at a subnet to the part of c that has just these names.
func join(groups []Chain, c Chain, subnet string, names []string, strings intern.Lists[string]) []Chain {
	if len(names) == 0 {
		return groups
	}
	if c.Names != nil {
		c.Names = strings.Of(names)
	}
	if c.Subnets == nil {
		return append(groups, c)
	}
	for i := range groups {
		if groups[i].Names == c.Names {
			groups[i].Subnets = strings.Of(append(slices.Clone(groups[i].Subnets.Slice()), subnet))
			return groups
		}
	}
	c.Subnets = strings.Of([]string{subnet})
	return append(groups, c)
}

func orAny(list *intern.List[string]) []string {
	if list == nil {
		return []string{""}
	}
	return list.Slice()
}
