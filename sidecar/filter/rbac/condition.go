package rbac

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

// facts are what conditions look at; x is nil for connections.
type facts struct {
	c *exchange.Connection
	x *exchange.Exchange
}

// condition is a compiled Rule.
type condition interface{ holds(of facts) bool }

func anyOf(rules []Rule, http, claims bool) (condition, error) {
	list, err := conditions(rules, http, claims)
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return or(list), nil
}

func conditions(rules []Rule, http, claims bool) ([]condition, error) {
	out := make([]condition, len(rules))
	for i, r := range rules {
		var err error
		if out[i], err = newCondition(r, http, claims); err != nil {
			return nil, fmt.Errorf("[%d]%w", i, err)
		}
	}
	return out, nil
}

// newCondition compiles r. Its error begins where a field path goes on. Claims says that r is met by what is only claimed as well, since that can but refuse:
// in DENY, and, where it is negated, in ALLOW.
func newCondition(r Rule, http, claims bool) (condition, error) {
	if r.Kind >= Header && !http {
		return nil, errors.New(": it needs a request, and this is for connections")
	}
	switch r.Kind {
	case Any:
		return always{}, nil
	case And, Or, Not:
		return combine(r, http, claims)
	case DestinationIP:
		return destination(r.Prefix), nil
	case DestinationPort:
		return port(r.Port), nil
	case DirectSource:
		return directSource(r.Prefix), nil
	case Source:
		return source(r.Prefix), nil
	case Peer:
		return authenticated{}, nil
	case Template:
		return newTemplate(r.Pattern)
	}
	m, err := match.New(r.Match)
	if err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	switch r.Kind {
	case ServerName:
		return &serverName{m}, nil
	case Principal:
		return &principal{m, claims}, nil
	case Path:
		return &path{m}, nil
	case Header:
		return &header{rule: r, match: m}, nil
	}
	return nil, fmt.Errorf(": kind %d is unknown", r.Kind)
}

func combine(r Rule, http, claims bool) (condition, error) {
	list, err := conditions(r.Rules, http, claims != (r.Kind == Not))
	if err != nil {
		return nil, err
	}
	switch {
	case r.Kind == And:
		return and(list), nil
	case r.Kind == Or:
		return or(list), nil
	case len(list) != 1:
		return nil, errors.New(": a negation has exactly one rule")
	}
	return not{list[0]}, nil
}

type always struct{}

func (always) holds(facts) bool { return true }

type and []condition

func (a and) holds(of facts) bool {
	for _, c := range a {
		if !c.holds(of) {
			return false
		}
	}
	return true
}

type or []condition

func (o or) holds(of facts) bool {
	for _, c := range o {
		if c.holds(of) {
			return true
		}
	}
	return false
}

type not struct{ condition }

func (n not) holds(of facts) bool { return !n.condition.holds(of) }

type destination netip.Prefix

func (d destination) holds(of facts) bool { return covers(netip.Prefix(d), of.c.Destination.Addr()) }

type port uint16

func (p port) holds(of facts) bool { return of.c.Destination.Port() == uint16(p) }

type directSource netip.Prefix

func (s directSource) holds(of facts) bool { return covers(netip.Prefix(s), of.c.Direct().Addr()) }

type source netip.Prefix

func (s source) holds(of facts) bool {
	if of.x == nil {
		return covers(netip.Prefix(s), of.c.Source.Addr())
	}
	return covers(netip.Prefix(s), of.x.Remote)
}

func covers(p netip.Prefix, a netip.Addr) bool { return p.Contains(a.Unmap().WithZone("")) }

type serverName struct{ match match.String }

func (s *serverName) holds(of facts) bool { return s.match.Match(of.c.SNI) }

type authenticated struct{}

func (authenticated) holds(of facts) bool { return of.c.Verified() }

type principal struct {
	match  match.String
	claims bool
}

// holds tries each name, as Envoy does.
func (p *principal) holds(of facts) bool {
	if !of.c.Verified() {
		return false
	}
	s := of.c.Security
	return s.Identity.URI != "" && p.match.Match(s.Identity.URI) || p.oneOf(s.URIs) || p.claims && p.oneOf(s.Claimed) ||
		p.domain(s.DNS) || s.Subject != "" && p.match.Match(s.Subject)
}

func (p *principal) oneOf(names []string) bool {
	for _, name := range names {
		if p.match.Match(name) {
			return true
		}
	}
	return false
}

// domain takes what is no DNS name for a claim: a URI there has not been judged as one.
func (p *principal) domain(names []string) bool {
	for _, name := range names {
		if (p.claims || !strings.Contains(name, "/")) && p.match.Match(name) {
			return true
		}
	}
	return false
}

type path struct{ match match.String }

func (p *path) holds(of facts) bool { return p.match.MatchBytes(pathOf(of.x)) }

// pathOf returns the path as it was asked for, before any rewriting, without query and fragment.
func pathOf(x *exchange.Exchange) []byte {
	p := []byte(x.Request.Path)
	if x.OriginalPath != nil {
		p = x.OriginalPath
	}
	if i := bytes.IndexAny(p, "?#"); i >= 0 {
		p = p[:i]
	}
	return p
}

type template struct{ regex *regexp.Regexp }

func newTemplate(pattern string) (condition, error) {
	if !strings.HasPrefix(pattern, "/") {
		return nil, fmt.Errorf(": path template %q does not begin with /", pattern)
	}
	var b strings.Builder
	b.WriteString("^(?s:")
	for _, segment := range strings.Split(pattern[1:], "/") {
		b.WriteString("/")
		switch segment {
		case "*", "{*}":
			b.WriteString("[^/]+")
		case "**", "{**}":
			b.WriteString(".*")
		default:
			if strings.ContainsAny(segment, "{}*") {
				return nil, fmt.Errorf(": path template %q: segment %q mixes text and wildcards", pattern, segment)
			}
			b.WriteString(regexp.QuoteMeta(segment))
		}
	}
	b.WriteString(")$")
	regex, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf(": path template %q: %w", pattern, err)
	}
	return template{regex}, nil
}

func (t template) holds(of facts) bool { return t.regex.Match(pathOf(of.x)) }

type header struct {
	rule  Rule
	match match.String
}

func (h *header) holds(of facts) bool {
	value, lines := headerValue(&of.x.Request, h.rule.Name)
	switch {
	case h.rule.Present:
		return (lines > 0 || h.rule.MissingAsEmpty) != h.rule.Invert
	case lines > 1:
		return h.any(&of.x.Request) != h.rule.Invert
	case lines == 0 && !h.rule.MissingAsEmpty:
		return false
	}
	return h.match.MatchBytes(value) != h.rule.Invert
}

// any says whether one of several lines matches. Each is judged on its own, as Envoy does: a value that a policy denies must not hide beside another.
func (h *header) any(head *exchange.Head) bool {
	for i := range head.Fields {
		if f := &head.Fields[i]; string(f.Name) == h.rule.Name && h.match.MatchBytes(f.Value) {
			return true
		}
	}
	return false
}

// headerValue returns a header's first line, and how many there are.
func headerValue(h *exchange.Head, name string) (value []byte, lines int) {
	one := func(v exchange.View, there bool) ([]byte, int) {
		if there {
			return v, 1
		}
		return nil, 0
	}
	switch name {
	case ":method":
		return one(h.Method, true)
	case ":authority", "host":
		return one(h.Authority, len(h.Authority) > 0)
	case ":path":
		return one(h.Path, true)
	case ":scheme":
		return one(h.Scheme, len(h.Scheme) > 0)
	}
	return h.Get(name), h.Count(name)
}
