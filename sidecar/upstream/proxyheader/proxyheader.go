// Package proxyheader writes the header of HAProxy's PROXY protocol (its text, section 2). It sends nothing, nor does it choose the addresses.
package proxyheader

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// V1 is the line of text. known: the addresses are; four: both are of IPv4, else both of IPv6.
func V1(known, four bool, src, dst netip.AddrPort) []byte {
	if !known {
		return []byte("PROXY UNKNOWN\r\n")
	}
	out := []byte("PROXY TCP6 ")
	if four {
		out[9] = '4'
	}
	out = append(src.Addr().AppendTo(out), ' ')
	out = append(dst.Addr().AppendTo(out), ' ')
	out = append(strconv.AppendUint(out, uint64(src.Port()), 10), ' ')
	return append(strconv.AppendUint(out, uint64(dst.Port()), 10), "\r\n"...)
}

// V2 is the binary form: the signature, version and command, family and protocol, the length of what follows, addresses and ports.
func V2(known, four bool, src, dst netip.AddrPort) []byte {
	out := []byte("\r\n\r\n\x00\r\nQUIT\n")
	if !known {
		return append(out, 0x20, 0, 0, 0) // LOCAL
	}
	family, length := byte(0x21), byte(36)
	if four {
		family, length = 0x11, 12
	}
	out = append(out, 0x21, family, 0, length)
	out = append(append(out, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(out, src.Port()), dst.Port())
}
