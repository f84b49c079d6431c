package model

import (
	"cmp"
	"strings"
)

// HostIncludes reports whether every name that b stands for is one that a stands for: a is b, or a wildcard around it. "*.foo.com" does
// not include "foo.com".
func HostIncludes(a, b string) bool {
	if a == b || a == "*" {
		return true
	}
	suffix, wild := strings.CutPrefix(a, "*")
	return wild && strings.HasSuffix(b, suffix) && len(b) > len(suffix)
}

// PartialWildcard reports whether the star of a host stands for a part of a label, as in "*-foo.com" and "*foo.com".
func PartialWildcard(host string) bool {
	return len(host) > 1 && host[0] == '*' && host[1] != '.'
}

// CompareHosts orders hosts by how specific they are: names before wildcards, longer before shorter, "*" last; then by letters.
func CompareHosts(a, b string) int {
	aw, bw := strings.HasPrefix(a, "*"), strings.HasPrefix(b, "*")
	if aw != bw {
		if bw {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
}
