// Package conditions reads from xDS messages what requests and responses have to be like: which fields they have, and when a request is tried again. Like
// compile, for which it is, it is pure, and says which field it will not honour.
package conditions

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/permissions"
	"github.com/heddle-mesh/heddle/sidecar/match"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// Headers is the route package's form of matches of fields.
func Headers(path string, in []*routev3.HeaderMatcher) ([]route.HeaderMatch, error) {
	var out []route.HeaderMatch
	for i, h := range in {
		r, err := permissions.Header(fmt.Sprintf("%s[%d]", path, i), h)
		if err != nil {
			return nil, err
		}
		made := route.HeaderMatch{Name: r.Name, Invert: r.Invert, MissingAsEmpty: r.MissingAsEmpty, Match: Value(r.Match)}
		if r.Present {
			made.Match = route.StringMatch{Kind: route.StringPresent}
			made.Absent, made.Invert = r.Invert, false
		}
		out = append(out, made)
	}
	return out, nil
}

// Value is the route package's form of a string match.
func Value(c match.Config) route.StringMatch {
	kind := map[match.Kind]route.StringKind{match.Exact: route.StringExact, match.Prefix: route.StringPrefix, match.Suffix: route.StringSuffix,
		match.Contains: route.StringContains, match.Regex: route.StringRegex}[c.Kind]
	return route.StringMatch{Kind: kind, Value: c.Value, IgnoreCase: c.IgnoreCase}
}
