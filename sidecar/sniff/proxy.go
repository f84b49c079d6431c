package sniff

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// Introduction is what a proxy says with the PROXY protocol of the client for whom it connects.
type Introduction struct {
	Source, Destination netip.AddrPort // zero: the proxy connects for itself, or does not know
	Len                 int            // bytes of the header
}

// Sizes of the PROXY protocol's header, in bytes: version 1's longest line, and version 2's fixed part and addresses.
const (
	proxyLine  = 107
	proxyFixed = 16
	proxyFour  = 12
	proxySix   = 36
)

const (
	proxyV1 = "PROXY "
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// Proxy reads the PROXY protocol's header at the beginning of a connection, in version 1 or 2 (HAProxy's proxy-protocol.txt). begun: as far as p
// goes it is one; No with begun is a header that is malformed or says what is not supported: Unix sockets, unknown families and commands.
func Proxy(p []byte) (in Introduction, begun bool, v Verdict) {
	switch {
	case starts(p, proxyV2):
		in, v = proxyBinary(p)
		return in, true, v
	case starts(p, proxyV1):
		in, v = proxyText(p)
		return in, true, v
	}
	return Introduction{}, false, No
}

// starts says whether p begins with the signature, as far as it goes.
func starts(p []byte, signature string) bool {
	n := min(len(p), len(signature))
	return string(p[:n]) == signature[:n]
}

// proxyText reads "PROXY TCP4 <source> <destination> <port> <port>\r\n".
func proxyText(p []byte) (Introduction, Verdict) {
	end := bytes.Index(p[:min(len(p), proxyLine)], []byte("\r\n"))
	switch {
	case end < 0 && len(p) < proxyLine:
		return Introduction{}, More
	case end < 0:
		return Introduction{}, No
	}
	in := Introduction{Len: end + 2}
	words := strings.Split(string(p[:end]), " ")
	if words[1] == "UNKNOWN" {
		return in, Yes
	}
	if len(words) != 6 {
		return Introduction{}, No
	}
	four, known := map[string]bool{"TCP4": true, "TCP6": false}[words[1]]
	from, okFrom := proxyAddress(words[2], words[4], four)
	to, okTo := proxyAddress(words[3], words[5], four)
	if !known || !okFrom || !okTo {
		return Introduction{}, No
	}
	in.Source, in.Destination = from, to
	return in, Yes
}

func proxyAddress(ip, port string, four bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() != four || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(n)), err == nil && unicast(a)
}

// unicast says whether a can be an end of a TCP connection.
func unicast(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// proxyBinary reads version 2: signature, version and command, family and transport, length, addresses, extensions.
func proxyBinary(p []byte) (Introduction, Verdict) {
	if len(p) < proxyFixed {
		return Introduction{}, More
	}
	length := int(binary.BigEndian.Uint16(p[14:]))
	version, command, family, transport := p[12]>>4, p[12]&15, p[13]>>4, p[13]&15
	addresses := 0
	switch {
	case version != 2:
		return Introduction{}, No
	case command == 0: // LOCAL: the proxy itself, to see whether we live
	case command != 1, transport != 1 && transport != 2:
		return Introduction{}, No
	case family == 1:
		addresses = proxyFour
	case family == 2:
		addresses = proxySix
	default:
		return Introduction{}, No
	}
	if length < addresses {
		return Introduction{}, No
	}
	in := Introduction{Len: proxyFixed + length}
	if len(p) < in.Len {
		return Introduction{}, More
	}
	if command == 0 {
		return in, Yes
	}
	return in.binary(p[proxyFixed:in.Len], (addresses-4)/2)
}

// binary reads two addresses of size bytes, their ports, and what follows them.
func (in Introduction) binary(p []byte, size int) (Introduction, Verdict) {
	from, _ := netip.AddrFromSlice(p[:size])
	to, _ := netip.AddrFromSlice(p[size : 2*size])
	ports := p[2*size:]
	in.Source = netip.AddrPortFrom(from, binary.BigEndian.Uint16(ports))
	in.Destination = netip.AddrPortFrom(to, binary.BigEndian.Uint16(ports[2:]))
	if !unicast(from) || !unicast(to) || !extensions(ports[4:]) {
		return Introduction{}, No
	}
	return in, Yes
}

// extensions says whether p is a list of type, length and value.
func extensions(p []byte) bool {
	for len(p) > 0 {
		if len(p) < 3 {
			return false
		}
		n := 3 + int(binary.BigEndian.Uint16(p[1:]))
		if len(p) < n {
			return false
		}
		p = p[n:]
	}
	return true
}
