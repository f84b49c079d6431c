// Package naming is the names that stats, logs and resources share, the hosts and addresses in them, and the class of a proxy, on whose
// address families some of them depend.
package naming

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Cluster is an outbound cluster's name.
func Cluster(host, subset string, port uint16) string {
	return "outbound|" + Port(port) + "|" + subset + "|" + host
}

// Inbound is the name of the cluster that delivers to the application's port.
func Inbound(port uint16) string { return "inbound|" + Port(port) + "||" }

// ServerName is the SNI of mesh mTLS to a cluster.
func ServerName(host, subset string, port uint16) string {
	return "outbound_." + Port(port) + "_." + subset + "_." + host
}

// HostRoute names the routes of one host's undeclared port.
func HostRoute(host string, port uint16) string { return host + ":" + Port(port) }

// ServerListener is what a program with gRPC's xDS server asks for, by the address that it listens on.
func ServerListener(address string) string { return wire.ServerListenerPrefix + address }

// Port writes a port.
func Port(port uint16) string { return strconv.Itoa(int(port)) }

// Covers reports whether pattern ("*", "*suffix" or exact) covers host, which may itself be a wildcard.
func Covers(pattern, host string) bool {
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

// Shorter are the names by which pods may call a Kubernetes Service but its own: those that their search path completes, the last one to clients of its
// namespace alone.
func Shorter(host, domain string, local bool) []string {
	base, ok := strings.CutSuffix(host, ".svc."+domain)
	if !ok {
		return nil
	}
	out := []string{base + ".svc", base}
	if local {
		name, _, _ := strings.Cut(base, ".")
		out = append(out, name)
	}
	return out
}

// Narrower returns the more specific of two patterns that overlap.
func Narrower(a, b string) (string, bool) {
	switch {
	case Covers(a, b):
		return b, true
	case Covers(b, a):
		return a, true
	}
	return "", false
}

// IsBlock reports whether an address of a service is a block rather than one address.
func IsBlock(address string) bool {
	prefix, err := netip.ParsePrefix(address)
	return err == nil && prefix.Bits() != prefix.Addr().BitLen()
}

// Address drops a full-length prefix from an address.
func Address(address string) string {
	if prefix, err := netip.ParsePrefix(address); err == nil {
		return prefix.Addr().String()
	}
	return address
}

// Split tells the single addresses of a service from its blocks, as far as clients of this class can use them.
func (c Class) Split(addresses []string) (single, blocks []string) {
	for _, a := range addresses {
		switch {
		case !c.Usable(a):
		case IsBlock(a):
			blocks = append(blocks, a)
		default:
			single = append(single, Address(a))
		}
	}
	return single, blocks
}

// Usable reports whether clients of this class can speak the address's family.
func (c Class) Usable(address string) bool {
	ip, err := netip.ParseAddr(Address(address))
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

// Wildcards are the addresses that stand for any, the first one first.
func (c Class) Wildcards() []string {
	switch {
	case c.IPv4 && c.IPv6:
		return []string{"0.0.0.0", "::"}
	case c.IPv6:
		return []string{"::"}
	}
	return []string{"0.0.0.0"}
}

// Loopback are the addresses at which a pod reaches itself alone: the first, and that of the other family where the pod has both.
func (c Class) Loopback() (first, other string) {
	switch {
	case c.IPv4 && c.IPv6:
		return "127.0.0.1", "::1"
	case c.IPv6:
		return "::1", ""
	}
	return "127.0.0.1", ""
}

// ListenerName names a listener that is not fixed; an empty bind is the wildcard.
func (c Class) ListenerName(bind string, port uint16) string {
	if bind == "" {
		bind = c.Wildcards()[0]
	}
	return bind + "_" + Port(port)
}

// SourceAddress is where inbound traffic is delivered from.
func (c Class) SourceAddress() string {
	if c.IPv4 {
		return wire.InboundSourceV4
	}
	return wire.InboundSourceV6
}

// Class is the few properties of a proxy that many resources depend on.
type Class struct {
	Router  bool // a gateway; otherwise a sidecar
	Foreign bool // a stock Envoy: no facts of ours, identities spelled out
	// Proxyless is a program with an xDS client of its own, gRPC's, rather than a proxy. It is Foreign, too.
	Proxyless bool
	// Names is a proxy that answers its pod's DNS questions; with Allocated it uses the addresses that the mesh gave to ServiceEntries.
	Names     bool
	Allocated bool
	// OnDemand is a sidecar that asks for hosts, clusters and listeners when they are first used. Resources do not depend on it: see Outbound.
	OnDemand bool
	IPv4     bool
	IPv6     bool
	// Older is the dialect of a proxy of ours that is older than this build; 0: it is not.
	Older int
}

// Knows reports whether the proxy understands what a dialect brought.
func (c Class) Knows(dialect int) bool { return c.Older == 0 || c.Older >= dialect }

// SecretName splits the name of an SDS resource into the Secret's name and whether its CA is asked for. ok is false for names
// that do not stand for a Secret.
func SecretName(resource string) (name string, ca, ok bool) {
	name, ok = strings.CutPrefix(resource, wire.SecretPrefix)
	if base, found := strings.CutSuffix(name, wire.CACertSuffix); found {
		return base, true, ok
	}
	return name, false, ok
}
