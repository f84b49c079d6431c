package status

import (
	"slices"
	"strings"
)

// Ours reports whether a condition of an object of this API group is Heddle's.
func Ours(group, condition string) bool {
	return strings.HasSuffix(group, ".istio.io") && slices.Contains(ownTypes(), condition)
}
