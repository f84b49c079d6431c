package redirect

import (
	"net/netip"
	"slices"

	"github.com/heddle-mesh/heddle/api/wire"
)

// TableName is the nftables table that holds the capture rules and nothing else.
const TableName = "heddle"

// portTunnel (HBONE) is never captured: a tunnel's end is asked directly.
const portTunnel = 15008

const portDNS = 53

const loopback = "lo"

var (
	localV4 = netip.MustParsePrefix("127.0.0.1/32")
	localV6 = netip.MustParsePrefix("::1/128")
)

// Rules returns the capture rules of c. Their order matters: the first that matches decides.
func Rules(c Config) Ruleset {
	names := dns(c)
	out := Ruleset{Table: TableName, Chains: []Chain{
		{Name: "prerouting", Type: NAT, Hook: Prerouting, Rules: inbound(c)},
		{Name: "output", Type: NAT, Hook: Output, Rules: append(names, outbound(c)...)},
		{Name: "input", Type: Filter, Hook: Input, Rules: guard()},
		{Name: "owned", Type: Filter, Hook: Output, Rules: owned()},
	}}
	if len(names) > 0 {
		out.Chains = append(out.Chains, untracked()...)
	}
	return out
}

// dns captures the questions of the pod's processes, but for the proxy's own.
func dns(c Config) []Rule {
	if !c.DNS.All && len(c.DNS.List) == 0 || slices.Contains(c.ExcludeOutboundPorts, portDNS) {
		return nil
	}
	both := []Match{UDPPort{Number: portDNS}, Port{Number: portDNS}}
	var rules []Rule
	for _, name := range c.ExcludeInterfaces {
		rules = append(rules, rule("excluded interface", leave, OutInterface{Name: name}))
	}
	for _, port := range both {
		rules = append(rules, rule("the proxy's own question", leave, UID{ID: wire.ProxyUID}, port), rule("the proxy's own question", leave, GID{ID: wire.ProxyGID}, port))
	}
	for _, port := range both {
		if c.DNS.All {
			rules = append(rules, rule("dns", to(wire.PortDNS), port))
			continue
		}
		for _, server := range c.DNS.List {
			rules = append(rules, rule("dns", to(wire.PortDNS), To{Prefix: server}, port))
		}
	}
	return rules
}

// untracked keeps the proxy's own questions over UDP, and the answers, out of connection tracking. What is tracked stays for half a minute after its
// socket is closed: a question of the proxy from a port that a process of the pod had before would be taken for that process's, and be led back to
// the proxy.
func untracked() []Chain {
	return []Chain{
		{Name: "questions", Type: Raw, Hook: Output, Rules: []Rule{
			rule("the proxy's own question", Verdict{Kind: Untracked}, UID{ID: wire.ProxyUID}, UDPPort{Number: portDNS}),
			rule("the proxy's own question", Verdict{Kind: Untracked}, GID{ID: wire.ProxyGID}, UDPPort{Number: portDNS}),
		}},
		{Name: "answers", Type: Raw, Hook: Prerouting, Rules: []Rule{
			rule("a server's answer", Verdict{Kind: Untracked}, InInterface{Name: loopback, Not: true}, UDPPort{Number: portDNS, Source: true}),
		}},
	}
}

func rule(why string, v Verdict, matches ...Match) Rule {
	return Rule{Matches: matches, Verdict: v, Why: why}
}

func to(port uint16) Verdict { return Verdict{Kind: Redirect, Port: port} }

var leave = Verdict{Kind: Return}

// inbound captures what arrives from outside the pod.
func inbound(c Config) []Rule {
	rules := []Rule{rule("only tcp is captured", leave, TCP{Not: true})}
	for _, name := range c.ExcludeInterfaces {
		rules = append(rules, rule("excluded interface", leave, InInterface{Name: name}))
	}
	rules = append(rules, rule("tunnels are asked directly", leave, Port{Number: portTunnel}))
	for _, port := range []uint16{wire.PortProxyPrometheus, wire.PortReady, wire.PortStatus} {
		rules = append(rules, rule("the proxy's own port", leave, Port{Number: port}))
	}
	for _, port := range []uint16{wire.PortOutbound, wire.PortInbound} {
		rules = append(rules, rule("left to the guard", leave, Port{Number: port}))
	}
	for _, port := range c.ExcludeInboundPorts {
		rules = append(rules, rule("excluded port", leave, Port{Number: port}))
	}
	if c.InboundPorts.All {
		return append(rules, rule("inbound", to(wire.PortInbound)))
	}
	for _, port := range c.InboundPorts.List {
		rules = append(rules, rule("inbound", to(wire.PortInbound), Port{Number: port}))
	}
	return rules
}

// outbound captures what processes of the pod send.
func outbound(c Config) []Rule {
	rules := []Rule{rule("only tcp is captured", leave, TCP{Not: true})}
	for _, name := range c.ExcludeInterfaces {
		rules = append(rules, rule("excluded interface", leave, OutInterface{Name: name}))
	}
	for _, port := range c.ExcludeOutboundPorts {
		rules = append(rules, rule("excluded port", leave, Port{Number: port}))
	}
	rules = append(rules,
		rule("the proxy delivers inbound traffic", leave, OutInterface{Name: loopback}, From{single(wire.InboundSourceV4)}),
		rule("the proxy delivers inbound traffic", leave, OutInterface{Name: loopback}, From{single(wire.InboundSourceV6)}),
	)
	rules = append(rules, owner(UID{ID: wire.ProxyUID}, UID{ID: wire.ProxyUID, Not: true})...)
	rules = append(rules, owner(GID{ID: wire.ProxyGID}, GID{ID: wire.ProxyGID, Not: true})...)
	rules = append(rules,
		rule("between containers of the pod", leave, To{Prefix: localV4}),
		rule("between containers of the pod", leave, To{Prefix: localV6}),
	)
	for _, prefix := range c.ExcludeOutboundCIDRs {
		rules = append(rules, rule("excluded address", leave, To{Prefix: prefix}))
	}
	return append(rules, included(c)...)
}

// owner keeps the proxy's own connections from coming back to it, but for a call of the pod to its own Service, whose other
// end is the inbound side of this very proxy.
func owner(proxy, notProxy Match) []Rule {
	return []Rule{
		rule("the pod calls itself by a service", to(wire.PortInbound),
			proxy, OutInterface{Name: loopback}, To{Prefix: localV4, Not: true}, Port{Number: portTunnel, Not: true}),
		rule("the pod calls itself by a service", to(wire.PortInbound),
			proxy, OutInterface{Name: loopback}, To{Prefix: localV6, Not: true}, Port{Number: portTunnel, Not: true}),
		rule("between containers of the pod", leave, notProxy, OutInterface{Name: loopback}),
		rule("the proxy's own connection", Verdict{Kind: Own}, proxy),
	}
}

func included(c Config) []Rule {
	if c.OutboundCIDRs.All || c.OutboundPorts.All {
		return []Rule{rule("outbound", to(wire.PortOutbound))}
	}
	var rules []Rule
	for _, port := range c.OutboundPorts.List {
		rules = append(rules, rule("outbound by port", to(wire.PortOutbound), Port{Number: port}))
	}
	for _, prefix := range c.OutboundCIDRs.List {
		rules = append(rules, rule("outbound by address", to(wire.PortOutbound), To{Prefix: prefix}))
	}
	return rules
}

// guard refuses connections that were made to a capture port itself: the proxy would take it for their destination. Those that
// the chains above redirected carry the mark of it in connection tracking.
func guard() []Rule {
	var rules []Rule
	for _, port := range []uint16{wire.PortOutbound, wire.PortInbound} {
		rules = append(rules, rule("capture ports take nothing but captured traffic", Verdict{Kind: Reset}, Port{Number: port}, NotRedirected{}))
	}
	return rules
}

// owned refuses connections that are taken for one of the proxy's. What is tracked stays for two minutes after the proxy has given up on a server
// that does not answer, and a connection of the application from the same port to the same server would pass as the proxy's. Refused, it is tried again from
// another port. (Zones of connection tracking cannot tell the two apart: what the kernel sends for a socket that is closed has no owner.)
func owned() []Rule {
	return []Rule{rule("what is left of a connection of the proxy's is not the application's", Verdict{Kind: Reset},
		Owned{}, UID{ID: wire.ProxyUID, Not: true}, GID{ID: wire.ProxyGID, Not: true}, OutInterface{Name: loopback, Not: true}, Opens{})}
}

func single(address string) netip.Prefix {
	addr := netip.MustParseAddr(address)
	return netip.PrefixFrom(addr, addr.BitLen())
}
