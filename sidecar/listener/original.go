package listener

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// soOriginalDst is netfilter's SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const soOriginalDst = 80

// originalDst asks the kernel where a redirected connection meant to go; false where it was not redirected.
func originalDst(c net.Conn) (netip.AddrPort, bool) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return netip.AddrPort{}, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, false
	}
	var dst netip.AddrPort
	four := addrPort(c.LocalAddr()).Addr().Is4()
	if err := raw.Control(func(fd uintptr) {
		if four {
			dst, ok = original4(int(fd))
		} else {
			dst, ok = original6(int(fd))
		}
	}); err != nil {
		return netip.AddrPort{}, false
	}
	return dst, ok
}

// original4 reads a sockaddr_in: it fits the sixteen bytes of an IPv6 multicast request, which x/sys can fetch.
func original4(fd int) (netip.AddrPort, bool) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, false
	}
	p := m.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[4:8])), binary.BigEndian.Uint16(p[2:4])), true
}

// original6 reads a sockaddr_in6: it begins the structure that IPV6_MTU fills, which x/sys can fetch.
func original6(fd int) (netip.AddrPort, bool) {
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, false
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], m.Addr.Port) // network order in memory
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr).Unmap(), binary.BigEndian.Uint16(port[:])), true
}

// addrPort is the address of a TCP socket, zero for others.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
