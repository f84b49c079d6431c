package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Choose returns the chain for a connection, Default where none matches (nil: close). The order is Envoy's: destination
// port, destination address, server name, transport protocol, application protocols, source address. Each step keeps
// only the most specific candidates and never looks back.
func (l *Listener) Choose(c *exchange.Connection) *FilterChain {
	left := make([]*FilterChain, 0, 16)
	left = append(left, l.Chains...)
	for _, s := range steps() {
		left = best(left, c, s.score)
	}
	if len(left) == 0 {
		return l.Default
	}
	return left[0]
}

// step is one comparison of chains with a connection.
type step struct {
	of    string // what is compared, for people
	score func(*Match, *exchange.Connection) int
}

func steps() [6]step {
	return [...]step{
		{"destination port", scorePort}, {"destination address", scoreDestination}, {"server name", scoreServerName},
		{"transport protocol", scoreTransport}, {"application protocols", scoreALPN}, {"source address", scoreSource},
	}
}

// Passed is a chain that a connection does not take.
type Passed struct {
	Chain *FilterChain
	Of    string // what of the connection decided against it: "destination port", ...; "": an equal chain before it is taken
	Fits  bool   // it would do, but another is more specific
}

// Explain is Choose with its reasons: the chain, and all others in their order.
func (l *Listener) Explain(c *exchange.Connection) (*FilterChain, []Passed) {
	left := slices.Clone(l.Chains)
	why := map[*FilterChain]Passed{}
	for _, s := range steps() {
		before := slices.Clone(left)
		left = best(left, c, s.score)
		for _, f := range before {
			if !slices.Contains(left, f) {
				why[f] = Passed{f, s.of, s.score(&f.Match, c) >= 0}
			}
		}
	}
	chosen := l.Default
	if len(left) > 0 {
		chosen = left[0]
	}
	var out []Passed
	for _, f := range l.Chains {
		if f != chosen {
			p := why[f]
			p.Chain = f
			out = append(out, p)
		}
	}
	return chosen, out
}

// best keeps the chains with the highest score; -1 means no match.
func best(in []*FilterChain, c *exchange.Connection, score func(*Match, *exchange.Connection) int) []*FilterChain {
	top, out := 0, in[:0]
	for _, f := range in {
		s := score(&f.Match, c)
		if s < top {
			continue
		}
		if s > top {
			top, out = s, out[:0]
		}
		out = append(out, f)
	}
	return out
}

func scorePort(m *Match, c *exchange.Connection) int {
	switch m.Port {
	case 0:
		return 0
	case c.Destination.Port():
		return 1
	}
	return -1
}

func scoreDestination(m *Match, c *exchange.Connection) int {
	return scorePrefixes(m.Prefixes, c.Destination.Addr())
}

func scoreSource(m *Match, c *exchange.Connection) int {
	return scorePrefixes(m.SourceIPs, c.Source.Addr())
}

func scorePrefixes(ps []netip.Prefix, a netip.Addr) int {
	if len(ps) == 0 {
		return 0
	}
	score := -1
	for _, p := range ps {
		if p.Contains(a.Unmap()) {
			score = max(score, 1+p.Bits())
		}
	}
	return score
}

func scoreServerName(m *Match, c *exchange.Connection) int {
	if len(m.ServerNames) == 0 {
		return 0
	}
	score := -1
	for _, n := range m.ServerNames {
		switch {
		case strings.EqualFold(n, c.SNI):
			return 1 << 20
		case n == "*":
			score = max(score, 0)
		case strings.HasPrefix(n, "*.") && len(c.SNI) >= len(n) && strings.EqualFold(c.SNI[len(c.SNI)-len(n)+1:], n[1:]):
			score = max(score, len(n))
		}
	}
	return score
}

func scoreTransport(m *Match, c *exchange.Connection) int {
	switch m.Transport {
	case "":
		return 0
	case c.Transport:
		return 1
	}
	return -1
}

func scoreALPN(m *Match, c *exchange.Connection) int {
	if len(m.ALPN) == 0 {
		return 0
	}
	for _, a := range m.ALPN {
		for _, o := range c.Offered {
			if a == o {
				return 1
			}
		}
	}
	return -1
}
