package sock

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// askAgain is how long after an unanswered question the kernel asks the next one.
const askAgain = 10 * time.Second

// Heed has the kernel end a connection whose other side is gone: it asks, as TCP's keepalive does, when nothing has come for silence, and ends the
// connection where neither that nor what was sent is acknowledged for most. Of all that the application at the other side sees nothing. A connection
// that is kept alive already stays as it is, and what is no TCP connection as well.
func Heed(nc net.Conn, silence, most time.Duration) {
	raw := below(nc)
	if raw == nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || on != 0 {
			return
		}
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(silence/time.Second)) != nil {
			return
		}
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(askAgain/time.Second))
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(most/time.Millisecond))
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	})
}

// below finds the socket below TLS and whatever else wraps it; nil: there is none.
func below(nc net.Conn) syscall.RawConn {
	for {
		switch c := nc.(type) {
		case syscall.Conn:
			raw, err := c.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}
