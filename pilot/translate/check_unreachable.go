package translate

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/report"
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

// unreachableBytes warns of tcp or tls rules after one that takes everything, and of matches that an earlier rule has, too.
func unreachableBytes[R any, M proto.Message](log *report.Log, kind string, rules []R, matchesOf func(R) []M) {
	owners := map[string]int{}
	for i, rule := range rules {
		var issues report.Log
		matches := matchesOf(rule)
		for j, m := range matches {
			key, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if owner, found := owners[string(key)]; !found {
				owners[string(key)] = i
			} else if owner < i {
				issues.Warnf(fmt.Sprintf("spec.%s[%d].match[%d]", kind, i, j), "never reached: spec.%s[%d] has the same match", kind, owner)
				issues.As(report.IneffectiveMatch)
			}
		}
		ineffective(log, indexed("spec."+kind, i), len(matches) > 0 && len(issues.Issues) == len(matches), issues)
		if len(matches) == 0 && i < len(rules)-1 {
			log.Warnf(indexed("spec."+kind, i+1), "never reached: spec.%s[%d] has no match and takes every connection", kind, i)
			log.As(report.UnreachableRule)
			return
		}
	}
}

// ineffective reports the matches of a rule that are never reached, or the rule itself where earlier ones have them all.
func ineffective(log *report.Log, rule string, all bool, issues report.Log) {
	if all {
		log.Warnf(rule, "never reached: earlier rules have all of its matches")
		log.As(report.UnreachableRule)
		return
	}
	log.Issues = append(log.Issues, issues.Issues...)
}
