package generate

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
)

// clusterName is an outbound cluster's name.
func clusterName(host, subset string, port uint16) string {
	return "outbound|" + portString(port) + "|" + subset + "|" + host
}

// inboundName is the name of the cluster that delivers to the application's port.
func inboundName(port uint16) string { return "inbound|" + portString(port) + "||" }

// serverName is the SNI of mesh mTLS to a cluster.
func serverName(host, subset string, port uint16) string {
	return "outbound_." + portString(port) + "_." + subset + "_." + host
}

// hostRoute names the routes of one host's undeclared port.
func hostRoute(host string, port uint16) string { return host + ":" + portString(port) }

func portString(port uint16) string { return strconv.Itoa(int(port)) }

// hostMatches reports whether pattern ("*", "*.suffix" or exact) covers host, which may itself be a wildcard.
func hostMatches(pattern, host string) bool {
	suffix, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return pattern == host
	}
	rest, wildHost := strings.CutPrefix(host, "*")
	if wildHost {
		return strings.HasSuffix(rest, suffix)
	}
	return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
}

// narrower returns the more specific of two patterns that overlap.
func narrower(a, b string) (string, bool) {
	switch {
	case hostMatches(a, b):
		return b, true
	case hostMatches(b, a):
		return a, true
	}
	return "", false
}

// isCIDR reports whether an address of a service is a block rather than one address.
func isCIDR(address string) bool {
	prefix, err := netip.ParsePrefix(address)
	return err == nil && prefix.Bits() != prefix.Addr().BitLen()
}

// plainAddress drops a full-length prefix from an address.
func plainAddress(address string) string {
	if prefix, err := netip.ParsePrefix(address); err == nil {
		return prefix.Addr().String()
	}
	return address
}

// usable reports whether clients of this class can speak the address's family.
func (c Class) usable(address string) bool {
	ip, err := netip.ParseAddr(plainAddress(address))
	if err != nil {
		prefix, err := netip.ParsePrefix(address)
		if err != nil {
			return false
		}
		ip = prefix.Addr()
	}
	if ip.Is4() {
		return c.IPv4
	}
	return c.IPv6
}

// wildcards are the addresses that stand for any, the first one first.
func (c Class) wildcards() []string {
	switch {
	case c.IPv4 && c.IPv6:
		return []string{"0.0.0.0", "::"}
	case c.IPv6:
		return []string{"::"}
	}
	return []string{"0.0.0.0"}
}

// listenerName names a listener that is not fixed; an empty bind is the wildcard.
func (c Class) listenerName(bind string, port uint16) string {
	if bind == "" {
		bind = c.wildcards()[0]
	}
	return bind + "_" + portString(port)
}

// sourceAddress is where inbound traffic is delivered from.
func (c Class) sourceAddress() string {
	if c.IPv4 {
		return wire.InboundSourceV4
	}
	return wire.InboundSourceV6
}
