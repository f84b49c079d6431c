package lookup

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Names say what may be asked for.
type Names struct {
	Within string // a host, or "*.suffix" for all below; empty: any
	Port   uint16 // to connect to; 0: the one that comes with the name, else 443 where connections are secured, and 80 where they are not
	// Self are addresses that lead back to the proxy itself, beside those of its machine: of the Services before it, and of its like behind these.
	Self []netip.Addr
}

// Onward are the addresses that do not lead back to the proxy.
func (n Names) Onward(addrs []netip.Addr) []netip.Addr {
	if len(n.Self) == 0 {
		return addrs
	}
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return slices.Contains(n.Self, a) })
}

// Lead returns the name to look up and the port to connect to for an authority; false: it leads nowhere.
func (n Names) Lead(authority string, secured bool) (name string, port uint16, ok bool) {
	name, port = n.split(authority, secured)
	return name, port, name != "" && port != 0 && n.admit(name)
}

// split returns an authority's host, in lower case and without its last dot, and the port to connect to; empty where it is neither a name nor an address.
func (n Names) split(authority string, secured bool) (name string, port uint16) {
	name, digits := authority, ""
	if end := strings.LastIndexByte(authority, ']'); strings.HasPrefix(authority, "[") && end > 0 {
		name, digits = authority[1:end], strings.TrimPrefix(authority[end+1:], ":")
	} else if before, after, found := strings.Cut(authority, ":"); found {
		name, digits = before, after
	}
	switch {
	case n.Port != 0:
		port = n.Port
	case digits != "":
		if said, err := strconv.ParseUint(digits, 10, 16); err == nil {
			port = uint16(said)
		}
	case secured:
		port = 443
	default:
		port = 80
	}
	return plain(strings.TrimSuffix(strings.ToLower(name), ".")), port
}

// plain is a name if it can be a host's, or an address; else nothing.
func plain(name string) string {
	if a, err := netip.ParseAddr(name); err == nil {
		return a.WithZone("").String()
	}
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}
	if len(name) > 253 || strings.ContainsFunc(name, odd) {
		return ""
	}
	return name
}

// admit says whether a name is among those that may be asked for.
func (n Names) admit(name string) bool {
	if suffix, wild := strings.CutPrefix(n.Within, "*"); wild {
		return len(name) > len(suffix) && strings.HasSuffix(name, suffix)
	}
	return n.Within == "" || n.Within == name
}

// Interfaces are the addresses of this machine; none where it does not tell.
func Interfaces() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
