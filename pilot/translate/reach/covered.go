package reach

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
)

// prefixes are matches by the prefix of paths that they have, in lower case, at most maxTwins of each.
type prefixes map[string][]taken

// add notes the match of a rule; only one by prefix covers others.
func (p prefixes) add(rule int, m *networking.HTTPMatchRequest) {
	if prefix := strings.ToLower(m.GetUri().GetPrefix()); prefix != "" && len(p[prefix]) < maxTwins {
		p[prefix] = append(p[prefix], taken{rule, m})
	}
}

// covering returns a rule before this one with a match that takes all that m does, though it is another.
func (p prefixes) covering(rule int, m *networking.HTTPMatchRequest) (earlier int, ok bool) {
	path := strings.ToLower(m.GetUri().GetExact() + m.GetUri().GetPrefix())
	for end := range len(path) {
		for _, t := range p[path[:end+1]] {
			if t.rule < rule && covers(t.match, m) {
				return t.rule, true
			}
		}
	}
	return 0, false
}

// covers reports whether a match by prefix takes all that another does: the other's path begins with it, but perhaps for the case, and whatever else it
// asks for, the other asks for, too.
func covers(a, b *networking.HTTPMatchRequest) bool {
	sameCase := strings.HasPrefix(b.GetUri().GetExact()+b.GetUri().GetPrefix(), a.GetUri().GetPrefix())
	if !a.IgnoreUriCase && (b.IgnoreUriCase || !sameCase) || len(a.Headers) > len(b.Headers) || !slices.Equal(a.Gateways, b.Gateways) {
		return false
	}
	rest := proto.CloneOf(b)
	rest.Uri, rest.IgnoreUriCase, rest.Gateways = a.Uri, a.IgnoreUriCase, nil
	both := proto.CloneOf(rest)
	proto.Merge(both, a)
	both.Gateways = nil
	return proto.Equal(rest, both)
}
