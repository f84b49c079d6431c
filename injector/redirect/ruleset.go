package redirect

import (
	"fmt"
	"net/netip"
	"strings"
)

// Ruleset is one nftables table of family inet. It is a value: equal configs give equal rulesets.
type Ruleset struct {
	Table  string
	Chains []Chain
}

// Chain is one base chain, hooked where Hook says.
type Chain struct {
	Name  string
	Type  ChainType
	Hook  Hook
	Rules []Rule
}

// ChainType is nat, filter or raw (a filter before connections are tracked); the priority of a chain follows from it (destination nat, filter, raw).
type ChainType string

// The types of chain.
const (
	NAT    ChainType = "nat"
	Filter ChainType = "filter"
	Raw    ChainType = "raw"
)

// OwnMark is what connection tracking says of the proxy's own connections.
const OwnMark = 1337

// Hook is where in a packet's way a chain is asked.
type Hook string

// The hooks in use.
const (
	Prerouting Hook = "prerouting" // arriving from outside the pod
	Input      Hook = "input"      // about to be delivered to a socket of the pod
	Output     Hook = "output"     // sent by a process of the pod
)

// Rule applies Verdict to what all Matches match. Why is a word for the reader of a listing.
type Rule struct {
	Matches []Match
	Verdict Verdict
	Why     string
}

// Match is one of the types below; its text is nft's.
type Match interface{ String() string }

// The matches. Not inverts.
type (
	// TCP matches by protocol.
	TCP struct{ Not bool }
	// InInterface matches the interface that a packet came by.
	InInterface struct {
		Name string
		Not  bool
	}
	// OutInterface matches the interface that a packet leaves by.
	OutInterface struct {
		Name string
		Not  bool
	}
	// From matches the source address.
	From struct{ Prefix netip.Prefix }
	// To matches the destination address.
	To struct {
		Prefix netip.Prefix
		Not    bool
	}
	// Port matches the destination port of TCP.
	Port struct {
		Number uint16
		Not    bool
	}
	// UDPPort matches the destination port of UDP, or its source port.
	UDPPort struct {
		Number uint16
		Source bool
	}
	// UID matches the user of the sending process.
	UID struct {
		ID  uint32
		Not bool
	}
	// GID matches the group of the sending process.
	GID struct {
		ID  uint32
		Not bool
	}
	// Opens matches the packet that begins a connection of TCP.
	Opens struct{}
	// Owned matches packets of connections that Own was said of.
	Owned struct{}
	// NotRedirected matches connections whose destination no rule has changed.
	NotRedirected struct{}
)

// Verdict ends the evaluation of a chain.
type Verdict struct {
	Kind VerdictKind
	Port uint16 // of Redirect
}

// VerdictKind says what becomes of a packet.
type VerdictKind int

// The verdicts.
const (
	Return    VerdictKind = iota // leave it alone
	Redirect                     // to a port of this pod
	Reset                        // refuse the connection, and count that
	Untracked                    // no rule of a NAT chain applies to it
	Own                          // leave it alone, and note that the connection is the proxy's
)

func op(not bool) string {
	if not {
		return "!= "
	}
	return ""
}

func family(p netip.Prefix) string {
	if p.Addr().Is6() {
		return "ip6"
	}
	return "ip"
}

func address(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (m TCP) String() string          { return "meta l4proto " + op(m.Not) + "tcp" }
func (m InInterface) String() string  { return "iifname " + op(m.Not) + fmt.Sprintf("%q", m.Name) }
func (m OutInterface) String() string { return "oifname " + op(m.Not) + fmt.Sprintf("%q", m.Name) }
func (m From) String() string         { return family(m.Prefix) + " saddr " + address(m.Prefix) }
func (m To) String() string           { return family(m.Prefix) + " daddr " + op(m.Not) + address(m.Prefix) }
func (m Port) String() string         { return fmt.Sprintf("tcp dport %s%d", op(m.Not), m.Number) }
func (m UDPPort) String() string {
	if m.Source {
		return fmt.Sprintf("udp sport %d", m.Number)
	}
	return fmt.Sprintf("udp dport %d", m.Number)
}
func (m UID) String() string   { return fmt.Sprintf("meta skuid %s%d", op(m.Not), m.ID) }
func (m GID) String() string   { return fmt.Sprintf("meta skgid %s%d", op(m.Not), m.ID) }
func (m Opens) String() string { return "tcp flags & (fin | syn | rst | ack) == syn" }
func (m Owned) String() string { return fmt.Sprintf("ct mark %d", OwnMark) }
func (m NotRedirected) String() string {
	return "ct status & dnat == 0"
}

func (v Verdict) String() string {
	switch v.Kind {
	case Redirect:
		return fmt.Sprintf("redirect to :%d", v.Port)
	case Reset:
		return "counter reject with tcp reset"
	case Untracked:
		return "notrack"
	case Own:
		return fmt.Sprintf("ct mark set %d return", OwnMark)
	default:
		return "return"
	}
}

// String returns r as nft writes it, without Why.
func (r Rule) String() string {
	words := make([]string, 0, len(r.Matches)+1)
	for _, m := range r.Matches {
		words = append(words, m.String())
	}
	return strings.Join(append(words, r.Verdict.String()), " ")
}

// String returns r as nft lists it.
func (r Ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", r.Table)
	for _, c := range r.Chains {
		kind, priority := c.Type, string(c.Type)
		switch c.Type {
		case NAT:
			priority = "dstnat"
		case Raw:
			kind = Filter
		}
		fmt.Fprintf(&b, "  chain %s {\n    type %s hook %s priority %s; policy accept;\n", c.Name, kind, c.Hook, priority)
		for _, rule := range c.Rules {
			fmt.Fprintf(&b, "    %-80s # %s\n", rule, rule.Why)
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return b.String()
}
