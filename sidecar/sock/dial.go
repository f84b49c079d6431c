package sock

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// AddrPort is the address of a TCP socket, zero for others.
func AddrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// Dialling is a net.Dialer's Control that sets SO_MARK before connecting, and where connections are from an address that is given, leaves the choice of the
// port until the destination is known (ip(7), IP_BIND_ADDRESS_NO_PORT): else each port serves one connection, to whomever, and none for a minute after that.
// From an address of IPv6 that leads nowhere but here, connections are bound to the loopback interface: the kernel uses ports again a second after they were
// left, not a minute, where it can tell that nothing leaves the host (ip-sysctl, tcp_tw_reuse 2), and that it tells of 127/8, of ::1, and of this.
// It is nil where there is nothing to set.
func Dialling(mark int, from net.Addr) func(network, address string, c syscall.RawConn) error {
	if mark == 0 && from == nil {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) {
			if mark != 0 {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark)
			}
			if from != nil && failed == nil {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // of IPv6 as well
			}
			if here(from) {
				_ = unix.BindToDevice(int(fd), "lo") // kernels before 5.7 want a right for it; without, there is a minute between uses
			}
		}); err != nil {
			return err
		}
		return failed
	}
}

// here says whether an address is IPv4-compatible (RFC 4291, section 2.5.5.1), as ::6 is: they are deprecated, and no network routes them.
func here(a net.Addr) bool {
	from := AddrPort(a).Addr()
	if !from.Is6() || from.IsLoopback() || from.IsUnspecified() {
		return false
	}
	raw := from.As16()
	return [12]byte(raw[:12]) == [12]byte{}
}

// Wrap makes a Conn of what is a Socket, and leaves anything else as it is. Where it fails, conn is closed.
func Wrap(conn net.Conn) (net.Conn, error) {
	raw, ok := conn.(Socket)
	if !ok {
		return conn, nil
	}
	c, err := New(raw)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// Source is the local address to dial from, of the family of the other side, nil for any.
func Source(v4, v6, to netip.Addr) net.Addr {
	from := v4
	if to.Is6() && !to.Is4In6() {
		from = v6
	}
	if !from.IsValid() {
		return nil
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
}
