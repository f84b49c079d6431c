// Package redirect decides which connections of a pod the proxy captures: from a pod's annotations or a command's flags to
// rules as data. It is PURE: it renders rules and never touches a kernel (package kernel does), and of UDP only DNS is its concern.
package redirect

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
)

// all is how a list says "everything".
const all = "*"

// Spec is what to capture as people write it: comma-separated lists, "*" for everything where a field says so.
type Spec struct {
	InboundPorts         string // ports or *
	ExcludeInboundPorts  string
	OutboundPorts        string // ports or *: captured whatever their address
	ExcludeOutboundPorts string
	OutboundCIDRs        string // prefixes or *
	ExcludeOutboundCIDRs string
	ExcludeInterfaces    string
	// DNS is the servers whose port 53 the proxy answers for: addresses, or * for all; wire.DNSPod stands for those of the pod until somebody who knows
	// them puts them here. Empty: none.
	DNS string
}

// DefaultSpec captures everything.
func DefaultSpec() Spec { return Spec{InboundPorts: all, OutboundCIDRs: all} }

// field ties a Spec's field to its flag.
type field struct {
	flag, usage string
	value       *string
}

func (s *Spec) fields() []field {
	return []field{
		{wire.FlagInboundPorts, "inbound ports to capture, comma-separated, or *", &s.InboundPorts},
		{wire.FlagExcludeInbound, "inbound ports to leave alone", &s.ExcludeInboundPorts},
		{wire.FlagOutboundPorts, "outbound ports to capture whatever their address, or *", &s.OutboundPorts},
		{wire.FlagExcludeOutbound, "outbound ports to leave alone", &s.ExcludeOutboundPorts},
		{wire.FlagOutboundCIDRs, "outbound addresses to capture, comma-separated CIDRs, or *", &s.OutboundCIDRs},
		{wire.FlagExcludeCIDRs, "outbound addresses to leave alone", &s.ExcludeOutboundCIDRs},
		{wire.FlagExcludeInterfaces, "network interfaces to leave alone", &s.ExcludeInterfaces},
		{wire.FlagDNS, "DNS servers whose questions to capture, comma-separated, or *, or " + wire.DNSPod + " for the pod's own", &s.DNS},
	}
}

// FlagSet is the part of flag.FlagSet and pflag.FlagSet that Register needs.
type FlagSet interface {
	StringVar(p *string, name, value, usage string)
}

// Register declares s's fields as flags, with their present values as defaults.
func (s *Spec) Register(flags FlagSet) {
	for _, f := range s.fields() {
		flags.StringVar(f.value, f.flag, *f.value, f.usage)
	}
}

// Args returns the flags by which s differs from DefaultSpec, in a fixed order.
func (s Spec) Args() []string {
	standard := DefaultSpec()
	defaults := standard.fields()
	var args []string
	for i, f := range s.fields() {
		if *f.value != *defaults[i].value {
			args = append(args, "--"+f.flag+"="+*f.value)
		}
	}
	return args
}

// Config is a checked Spec.
type Config struct {
	InboundPorts         Ports
	ExcludeInboundPorts  []uint16
	OutboundPorts        Ports
	ExcludeOutboundPorts []uint16
	OutboundCIDRs        Prefixes
	ExcludeOutboundCIDRs []netip.Prefix
	ExcludeInterfaces    []string
	DNS                  Prefixes // servers; each is one address
}

// Ports is a list of ports, or all of them.
type Ports struct {
	All  bool
	List []uint16
}

// Prefixes is a list of address ranges, or all of them.
type Prefixes struct {
	All  bool
	List []netip.Prefix
}

// Config checks s; the error names the flag of the first field that it cannot read.
func (s Spec) Config() (Config, error) {
	var c Config
	var r reader
	c.InboundPorts.All, c.InboundPorts.List = star(&r, wire.FlagInboundPorts, s.InboundPorts, parsePort)
	c.ExcludeInboundPorts = list(&r, wire.FlagExcludeInbound, s.ExcludeInboundPorts, parsePort)
	c.OutboundPorts.All, c.OutboundPorts.List = star(&r, wire.FlagOutboundPorts, s.OutboundPorts, parsePort)
	c.ExcludeOutboundPorts = list(&r, wire.FlagExcludeOutbound, s.ExcludeOutboundPorts, parsePort)
	c.OutboundCIDRs.All, c.OutboundCIDRs.List = star(&r, wire.FlagOutboundCIDRs, s.OutboundCIDRs, parsePrefix)
	c.ExcludeOutboundCIDRs = list(&r, wire.FlagExcludeCIDRs, s.ExcludeOutboundCIDRs, parsePrefix)
	c.ExcludeInterfaces = list(&r, wire.FlagExcludeInterfaces, s.ExcludeInterfaces, parseInterface)
	c.DNS.All, c.DNS.List = star(&r, wire.FlagDNS, s.DNS, parseServer)
	return c, r.err
}

// reader remembers the first error of a run of parses.
type reader struct{ err error }

func (r *reader) fail(flag, item string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("reading %s: %q: %w", flag, item, err)
	}
}

func star[T any](r *reader, flag, text string, parse func(string) (T, error)) (bool, []T) {
	if strings.TrimSpace(text) == all {
		return true, nil
	}
	return false, list(r, flag, text, parse)
}

func list[T any](r *reader, flag, text string, parse func(string) (T, error)) []T {
	var out []T
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		value, err := parse(item)
		if err != nil {
			r.fail(flag, item, err)
			continue
		}
		out = append(out, value)
	}
	return out
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("not a port between 1 and 65535")
	}
	return uint16(n), nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("not an address range")
	}
	return prefix.Masked(), nil
}

func parseServer(s string) (netip.Prefix, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("not an address")
	}
	addr = addr.Unmap().WithZone("") // rules know no zones
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// maxInterfaceName is IFNAMSIZ without its terminating zero.
const maxInterfaceName = 15

func parseInterface(s string) (string, error) {
	if len(s) > maxInterfaceName || strings.ContainsAny(s, "/ \t\"\n") {
		return "", fmt.Errorf("not the name of a network interface")
	}
	return s, nil
}
