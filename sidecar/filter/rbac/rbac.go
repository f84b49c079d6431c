// Package rbac judges requests and connections by authorization policies. One evaluator serves both layers. It trusts only the peer's
// verified identity and the socket's addresses; it never reads who somebody is from a header, and keeps no state.
package rbac

import (
	"fmt"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Filter implements filter.HTTP and filter.Network.
type Filter struct {
	config   Config
	policies []policy
	none     string // details where no ALLOW policy matched
}

type policy struct {
	permissions, principals condition
	details                 string // where this policy denies
}

// New compiles c for requests.
func New(c Config) (*Filter, error) { return compile(c, true) }

// NewNetwork compiles c for connections; a rule that needs a request is an error, since it could never be judged.
func NewNetwork(c Config) (*Filter, error) { return compile(c, false) }

func compile(c Config, http bool) (*Filter, error) {
	f := &Filter{config: c}
	names := make([]string, 0, len(c.Policies))
	for _, p := range c.Policies {
		permissions, err := anyOf(p.Permissions, http, c.Action == Deny)
		if err != nil {
			return nil, fmt.Errorf("policies[%s].permissions%w", p.Name, err)
		}
		principals, err := anyOf(p.Principals, http, c.Action == Deny)
		if err != nil {
			return nil, fmt.Errorf("policies[%s].principals%w", p.Name, err)
		}
		name := strings.Map(printable, p.Name)
		names = append(names, name)
		f.policies = append(f.policies, policy{permissions, principals, "rbac_access_denied_matched_policy[" + name + "]"})
	}
	f.none = "rbac_access_denied_matched_policy[none]consulted[" + strings.Join(names, ",") + "]"
	return f, nil
}

// printable keeps a name one word of an access log.
func printable(r rune) rune {
	if r <= ' ' || r == 0x7f {
		return '_'
	}
	return r
}

// Config returns what the filter was made of.
func (f *Filter) Config() Config { return f.config }

// Request implements filter.HTTP.
func (f *Filter) Request(x *exchange.Exchange) exchange.Outcome {
	details, ok := f.judge(facts{x.Conn, x})
	if ok {
		return exchange.OK
	}
	x.Details = details
	return exchange.Denied
}

// Connection implements filter.Network.
func (f *Filter) Connection(c *exchange.Connection) exchange.Outcome {
	details, ok := f.judge(facts{c, nil})
	if ok {
		return exchange.OK
	}
	c.Details = details
	return exchange.Denied
}

func (f *Filter) judge(of facts) (details string, ok bool) {
	for i := range f.policies {
		p := &f.policies[i]
		if !p.principals.holds(of) || !p.permissions.holds(of) {
			continue
		}
		if f.config.Action == Deny {
			return p.details, false
		}
		return "", true
	}
	return f.none, f.config.Action == Deny
}
