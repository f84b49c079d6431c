package status

import (
	"slices"
	"strings"
)

// ours are the types of the conditions that Heddle writes, in this version or another: whoever takes Heddle away may have another than wrote them.
var ours = []string{"Accepted", "Conflicted", "ResolvedRefs", "Acknowledged"}

// Ours reports whether a condition of an object of this API group is Heddle's.
func Ours(group, condition string) bool {
	return strings.HasSuffix(group, ".istio.io") && slices.Contains(ours, condition)
}
