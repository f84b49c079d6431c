//go:build linux

// Package kernel writes capture rules into the network namespace of the calling thread, in one nftables transaction over
// netlink, and reads them back. It decides nothing about what is captured and runs no external program. It needs CAP_NET_ADMIN.
package kernel

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/redirect"
)

// maxComment is what a rule's comment may hold: a length byte less the closing zero.
const maxComment = 254

// Apply replaces the table of r, whatever it held before, or fails and leaves it as it was: there is no moment without rules.
func Apply(r redirect.Ruleset) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	table := &nftables.Table{Name: r.Table, Family: nftables.TableFamilyINet}
	conn.AddTable(table) // so that deleting it cannot fail
	conn.DelTable(table)
	conn.AddTable(table)
	for _, c := range r.Chains {
		if err := addChain(conn, table, c); err != nil {
			return err
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("writing nftables table %s: %w", r.Table, err)
	}
	return addInboundSource()
}

// addInboundSource gives the loopback interface the IPv6 address that the proxy delivers inbound traffic from; of IPv4, 127/8 is
// there anyway. A pod without IPv6 needs none.
func addInboundSource() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding interface lo: %w", err)
	}
	source := &netlink.Addr{IPNet: netlink.NewIPNet(net.ParseIP(wire.InboundSourceV6))}
	err = netlink.AddrReplace(lo, source)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EACCES) {
		return nil // no IPv6 in the kernel, or disabled on the interface
	}
	if err != nil {
		return fmt.Errorf("adding address %s to lo: %w", wire.InboundSourceV6, err)
	}
	return nil
}

func addChain(conn *nftables.Conn, table *nftables.Table, c redirect.Chain) error {
	policy := nftables.ChainPolicyAccept
	chain := conn.AddChain(&nftables.Chain{
		Name: c.Name, Table: table, Type: kind(c.Type), Hooknum: hook(c.Hook), Priority: priority(c.Type), Policy: &policy,
	})
	for _, rule := range c.Rules {
		exprs, err := encode(rule)
		if err != nil {
			return fmt.Errorf("chain %s: %w", c.Name, err)
		}
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, comment(rule))})
	}
	return nil
}

// Remove deletes the table of r; that it is not there is no error.
func Remove(r redirect.Ruleset) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	table := &nftables.Table{Name: r.Table, Family: nftables.TableFamilyINet}
	conn.AddTable(table)
	conn.DelTable(table)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("deleting nftables table %s: %w", r.Table, err)
	}
	return nil
}

// Verify reads the table of r back and reports the first difference: each rule carries its own text as a comment, and the number
// of its expressions must be that of the text.
func Verify(r redirect.Ruleset) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	table, err := conn.ListTableOfFamily(r.Table, nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("reading nftables table %s: %w", r.Table, err)
	}
	for _, c := range r.Chains {
		if err := verifyChain(conn, table, c); err != nil {
			return fmt.Errorf("nftables table %s, chain %s: %w", r.Table, c.Name, err)
		}
	}
	return nil
}

func verifyChain(conn *nftables.Conn, table *nftables.Table, c redirect.Chain) error {
	rules, err := conn.GetRules(table, &nftables.Chain{Name: c.Name, Table: table})
	if err != nil {
		return fmt.Errorf("reading rules: %w", err)
	}
	if len(rules) != len(c.Rules) {
		return fmt.Errorf("%d rules, want %d", len(rules), len(c.Rules))
	}
	for i, want := range c.Rules {
		exprs, err := encode(want)
		if err != nil {
			return err
		}
		text, _ := userdata.GetString(rules[i].UserData, userdata.TypeComment)
		if text != comment(want) || len(rules[i].Exprs) != len(exprs) {
			return fmt.Errorf("rule %d is %q, want %q", i+1, text, comment(want))
		}
	}
	return nil
}

// comment is the text of r without quotation marks, which nft could not read back.
func comment(r redirect.Rule) string {
	text := strings.ReplaceAll(r.String(), `"`, "")
	return text[:min(len(text), maxComment)]
}

func hook(h redirect.Hook) *nftables.ChainHook {
	switch h {
	case redirect.Prerouting:
		return nftables.ChainHookPrerouting
	case redirect.Input:
		return nftables.ChainHookInput
	default:
		return nftables.ChainHookOutput
	}
}

func priority(t redirect.ChainType) *nftables.ChainPriority {
	switch t {
	case redirect.NAT:
		return nftables.ChainPriorityNATDest
	case redirect.Raw:
		return nftables.ChainPriorityRaw
	}
	return nftables.ChainPriorityFilter
}

func kind(t redirect.ChainType) nftables.ChainType {
	if t == redirect.Raw {
		return nftables.ChainTypeFilter
	}
	return nftables.ChainType(t)
}
