package sock_test

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/sidecar/sock"
)

// TestHeed: the kernel is told to look after a connection, below TLS too, unless somebody has said how already. Whatever is no socket is left alone.
func TestHeed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type options struct{ on, idle, most int }
	for name, c := range map[string]struct {
		configured net.KeepAliveConfig
		wrap       func(net.Conn) net.Conn
		want       options
	}{
		"a socket":           {wrap: func(c net.Conn) net.Conn { return c }, want: options{1, 60, 90_000}},
		"below TLS":          {wrap: func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{}) }, want: options{1, 60, 90_000}},
		"kept alive already": {net.KeepAliveConfig{Enable: true, Idle: 7 * time.Second}, func(c net.Conn) net.Conn { return c }, options{1, 7, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			d := net.Dialer{KeepAlive: -1, KeepAliveConfig: c.configured}
			nc, err := d.DialContext(context.Background(), "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			sock.Heed(c.wrap(nc), time.Minute, 90*time.Second)
			raw, err := nc.(syscall.Conn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var got options
			_ = raw.Control(func(fd uintptr) {
				got.on, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
				got.idle, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
				got.most, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			})
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	sock.Heed(a, time.Minute, time.Minute)
}
