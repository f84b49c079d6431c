// Package reach finds rules of VirtualServices, and matches, that nothing ever reaches.
package reach

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// Check warns of rules and matches that earlier ones leave nothing for.
func Check(log *report.Log, spec *networking.VirtualService) {
	http(log, spec.Http)
	bytes(log, "tls", spec.Tls, (*networking.TLSRoute).GetMatch)
	bytes(log, "tcp", spec.Tcp, (*networking.TCPRoute).GetMatch)
}

// http warns of rules after one that takes everything, and of matches that an earlier rule has, too.
func http(log *report.Log, routes []*networking.HTTPRoute) {
	last := len(routes)
	for i, h := range routes {
		if len(h.Match) == 0 && h.Delegate == nil && i < len(routes)-1 {
			last = i + 1
			break
		}
	}
	repeated(log, routes[:last])
	if last < len(routes) {
		log.Warnf(at("spec.http", last), "never reached: spec.http[%d] has no match and takes every request", last-1)
		log.As(report.UnreachableRule)
	}
}

// repeated warns of matches of which an earlier rule, which is no delegate's, has one that is the same word for word, whatever they are called, or that
// takes all of their requests: nothing is left for them.
func repeated(log *report.Log, routes []*networking.HTTPRoute) {
	if len(routes) < 2 {
		return
	}
	owners, wider := map[matchKey][]taken{}, prefixes{}
	for i, h := range routes {
		var issues report.Log
		same := 0
		for j, m := range h.Match {
			path, uri := fmt.Sprintf("spec.http[%d].match[%d]", i, j), m.GetUri()
			m := unnamed(m)
			key := matchKey{uri.GetExact(), uri.GetPrefix(), uri.GetRegex(), len(m.GetHeaders()), m.GetPort()}
			if k := slices.IndexFunc(owners[key], func(t taken) bool { return t.rule < i && proto.Equal(t.match, m) }); k >= 0 {
				issues.Warnf(path, "never reached: spec.http[%d] has the same match", owners[key][k].rule)
				issues.As(report.IneffectiveMatch)
				same++
				continue
			}
			if earlier, ok := wider.covering(i, m); ok {
				issues.Warnf(path, "never reached: spec.http[%d] takes all of its requests", earlier)
				issues.As(report.IneffectiveMatch)
			}
			if h.Delegate == nil && len(owners[key]) < maxTwins {
				owners[key] = append(owners[key], taken{i, m})
				wider.add(i, m)
			}
		}
		ineffective(log, at("spec.http", i), same > 0 && same == len(h.Match), issues)
	}
}

// unnamed is a match without what says nothing of requests: its name, and that of its statistics.
func unnamed(m *networking.HTTPMatchRequest) *networking.HTTPMatchRequest {
	if m.GetName() == "" && m.GetStatPrefix() == "" {
		return m
	}
	m = proto.CloneOf(m)
	m.Name, m.StatPrefix = "", ""
	return m
}

// matchKey is what equal matches have in common, and few others.
type matchKey struct {
	exact, prefix, regex string // of the path
	headers              int    // how many
	port                 uint32
}

// taken is a match, and the rule that has it.
type taken struct {
	rule  int
	match *networking.HTTPMatchRequest
}

// maxTwins is how many matches of one key are compared with each other.
const maxTwins = 64

// bytes warns of tcp or tls rules after one that takes everything, and of matches that an earlier rule has, too.
func bytes[R any, M proto.Message](log *report.Log, kind string, rules []R, matchesOf func(R) []M) {
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
		ineffective(log, at("spec."+kind, i), len(matches) > 0 && len(issues.Issues) == len(matches), issues)
		if len(matches) == 0 && i < len(rules)-1 {
			log.Warnf(at("spec."+kind, i+1), "never reached: spec.%s[%d] has no match and takes every connection", kind, i)
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

func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }
