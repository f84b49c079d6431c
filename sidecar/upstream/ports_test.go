package upstream

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestPortsAreUsedAgain: short connections from the address that inbound traffic is delivered from, which the proxy closes first, run out of no port: one is
// free again a second after it was used, not a minute, whether the application is on a loopback address or on the pod's. There are a hundred here instead of
// 28,000, so that 300 connections are like the 60,000 of a minute.
func TestPortsAreUsedAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	for name, to := range map[string]string{"IPv4": "127.0.0.1", "IPv4, the pod's address": "10.0.0.1", "IPv6": "::1", "IPv6, the pod's address": "fd00::1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan any)
			go func() {
				runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
				defer func() { done <- recover() }()
				usePortsAgain(t, netip.AddrPortFrom(netip.MustParseAddr(to), 8080))
			}()
			if p := <-done; p != nil {
				t.Fatalf("in a namespace: %v", p)
			}
		})
	}
}

func usePortsAgain(t *testing.T, to netip.AddrPort) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	own, err := netns.New()
	must(err)
	defer own.Close()
	lo, err := netlink.LinkByName("lo")
	must(err)
	must(netlink.LinkSetUp(lo))
	for _, a := range []string{"10.0.0.1/32", "fd00::1/128", "::6" + "/128"} {
		at, err := netlink.ParseAddr(a)
		must(err)
		if at.IP.To4() == nil {
			at.Flags = unix.IFA_F_NODAD // else it is not to be had at once
		}
		must(netlink.AddrAdd(lo, at))
	}
	must(os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("20000 20099"), 0o644))
	app, err := net.Listen("tcp", to.String())
	must(err)
	defer app.Close()
	go drainAll(app)
	cfg := &Config{Discovery: Static, Source: netip.MustParseAddr("127.0.0.6"), Source6: netip.MustParseAddr("::6"),
		Endpoints: []*exchange.Endpoint{{Address: to, Weight: 1}}}
	c := NewRegistry(Options{}).Apply(map[string]*Config{"c": cfg}, nil).Get("c")
	h := c.Hosts()[0]
	until := time.Now().Add(40 * time.Second)
	for n := 0; n < 300; {
		conn, o, why := h.Connect(context.Background(), nil)
		switch {
		case o == exchange.OK:
			conn.Release()
			n++
		case time.Now().After(until):
			t.Errorf("after %d connections: %s", n, why)
			return
		default:
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// drainAll reads connections to their ends, and closes them then.
func drainAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}()
	}
}
