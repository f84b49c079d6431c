package sock

import (
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

// Mark is a net.Dialer's Control that sets SO_MARK before connecting, nil where there is nothing to set.
func Mark(m int) func(network, address string, c syscall.RawConn) error {
	if m == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, m)
		}); err != nil {
			return err
		}
		return failed
	}
}
