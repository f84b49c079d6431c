package rbac

import (
	"fmt"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Asked is a policy that was consulted.
type Asked struct {
	Policy string
	Met    bool
	Missed []Missed // why it is not met
}

// Missed is an alternative of a policy that does not hold.
type Missed struct {
	Of    string // "principals" or "permissions"
	Index int    // among these
	Why   string // what it wants, and what there is
}

// Explain judges a request (x nil: a connection) with reasons: every policy up to the one that decides.
func (f *Filter) Explain(c *exchange.Connection, x *exchange.Exchange) []Asked {
	of := facts{c, x}
	var out []Asked
	for i, p := range f.policies {
		asked := Asked{Policy: f.config.Policies[i].Name}
		who, what := p.principals.holds(of), p.permissions.holds(of)
		if !who {
			asked.Missed = f.unmet("principals", f.config.Policies[i].Principals, of)
		}
		if !what {
			asked.Missed = append(asked.Missed, f.unmet("permissions", f.config.Policies[i].Permissions, of)...)
		}
		asked.Met = who && what
		if out = append(out, asked); asked.Met {
			break
		}
	}
	return out
}

// Action says what a policy that is met means.
func (f *Filter) Action() Action { return f.config.Action }

// unmet says of alternatives, none of which holds, what each lacks.
func (f *Filter) unmet(kind string, rules []Rule, of facts) []Missed {
	var out []Missed
	for i, r := range rules {
		out = append(out, Missed{kind, i, f.lacks(r, of)})
	}
	return out
}

// lacks describes the first part of a rule that does not hold.
func (f *Filter) lacks(r Rule, of facts) string {
	if r.Kind == And {
		for _, sub := range r.Rules {
			if c, err := newCondition(sub, of.x != nil, f.config.Action == Deny); err == nil && !c.holds(of) {
				return f.lacks(sub, of)
			}
		}
	}
	if there := is(r, of); there != "" {
		return "wants " + wants(r) + ", but there is " + there
	}
	return "wants " + wants(r)
}

// wants describes a rule.
func wants(r Rule) string {
	switch r.Kind {
	case Any:
		return "anything"
	case Not:
		if len(r.Rules) == 1 && r.Rules[0].Kind == Any {
			return "what never is: it matches nothing"
		}
		return "not " + wants(r.Rules[0])
	case And, Or:
		return several(r)
	case DestinationIP:
		return fmt.Sprintf("destination address in %s", r.Prefix)
	case DestinationPort:
		return fmt.Sprintf("destination port %d", r.Port)
	case DirectSource:
		return fmt.Sprintf("peer address in %s", r.Prefix)
	case Source:
		return fmt.Sprintf("client address in %s", r.Prefix)
	case Peer:
		return "a client with a verified certificate (mutual TLS)"
	case Template:
		return fmt.Sprintf("path like %q", r.Pattern)
	case Header:
		return headerWants(r)
	}
	return fmt.Sprintf("%s %s", noun(r.Kind), compared(r))
}

func several(r Rule) string {
	word, parts := " and ", make([]string, 0, len(r.Rules))
	if r.Kind == Or {
		word = " or "
	}
	for _, sub := range r.Rules {
		parts = append(parts, wants(sub))
	}
	return strings.Join(parts, word)
}

func headerWants(r Rule) string {
	name := noun(r.Kind) + " " + r.Name
	if strings.HasPrefix(r.Name, ":") {
		name = r.Name[1:]
	}
	switch {
	case r.Present && r.Invert:
		return "no " + name
	case r.Present:
		return name
	case r.Invert:
		return name + " other than " + compared(r)
	}
	return name + " " + compared(r)
}

// compared is a comparison: "/admin" for an exact one, prefix "/admin" for any other.
func compared(r Rule) string {
	kind := [...]string{"", "prefix ", "suffix ", "contains ", "regex "}[r.Match.Kind]
	return fmt.Sprintf("%s%q", kind, r.Match.Value)
}

func noun(k Kind) string {
	switch k {
	case ServerName:
		return "SNI"
	case Principal:
		return "client identity"
	case Path:
		return "path"
	}
	return "header"
}

// is what there is of what a rule looks at; "" where that says nothing.
func is(r Rule, of facts) string {
	switch r.Kind {
	case Not, And, Or:
		for _, sub := range r.Rules {
			if there := is(sub, of); there != "" {
				return there
			}
		}
		return ""
	case DestinationIP:
		return of.c.Destination.Addr().String()
	case DestinationPort:
		return fmt.Sprint(of.c.Destination.Port())
	case DirectSource:
		return of.c.Direct().Addr().String()
	case Source:
		if of.x != nil {
			return of.x.Remote.String()
		}
		return of.c.Source.Addr().String()
	case ServerName:
		return fmt.Sprintf("%q", of.c.SNI)
	case Principal, Peer:
		if peer := of.c.Peer(); peer != nil {
			return fmt.Sprintf("%q", peer.URI)
		}
		if of.c.Verified() {
			return "a certificate without identity: " + certified(of.c.Security)
		}
		return "none: the client shows no certificate (plaintext)"
	case Path, Template:
		return fmt.Sprintf("%q", pathOf(of.x))
	case Header:
		switch v, lines := headerValue(&of.x.Request, r.Name); lines {
		case 0:
			return "none"
		case 1:
			return fmt.Sprintf("%q", v)
		default:
			return fmt.Sprintf("%d values, the first %q", lines, v)
		}
	}
	return ""
}

// certified names a certificate by what principals are compared with.
func certified(s *exchange.Security) string {
	names := slices.Concat(s.URIs, s.Claimed, s.DNS)
	if s.Subject != "" {
		names = append(names, s.Subject)
	}
	return fmt.Sprintf("%q", names)
}
