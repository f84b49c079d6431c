// Package netlab makes network namespaces for tests: hosts on a switch of their own, where every port is free and nobody else is reached.
// It knows nothing of what runs on them.
package netlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Network is a switch. Everything about it goes with the test.
type Network struct {
	t     testing.TB
	space netns.NsHandle
	ports int
}

// Host is a network namespace with a loopback and, on a switch, eth0.
type Host struct {
	t     testing.TB
	space netns.NsHandle
}

const bridge = "switch"

// New makes a switch. Without root the test is skipped.
func New(t testing.TB) *Network {
	t.Helper()
	n := &Network{t: t, space: Alone(t).space}
	n.run(n.space, func() {
		must(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}))
		up(bridge)
	})
	return n
}

// Alone makes a host that reaches nobody. It may listen on any address.
func Alone(t testing.TB) *Host {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root: it makes network namespaces")
		}
		t.Skip("needs root: it makes network namespaces")
	}
	h := &Host{t: t}
	apart(t, func() {
		space, err := netns.New()
		must(err)
		h.space = space
		up("lo")
		for _, family := range []string{"ipv4", "ipv6"} {
			must(os.WriteFile("/proc/sys/net/"+family+"/ip_nonlocal_bind", []byte("1"), 0))
		}
	})
	t.Cleanup(func() { _ = h.space.Close() })
	return h
}

// Named is a namespace that somebody else has made, and removes.
func Named(t testing.TB, name string) *Host {
	t.Helper()
	space, err := netns.GetFromName(name)
	if err != nil {
		t.Fatalf("finding the network namespace %s: %v", name, err)
	}
	t.Cleanup(func() { _ = space.Close() })
	return &Host{t, space}
}

// Host makes a host with an address on the switch; all addresses are neighbours.
func (n *Network) Host(ip netip.Addr) *Host {
	n.t.Helper()
	h := Alone(n.t)
	n.ports++
	port := fmt.Sprint("port", n.ports)
	n.run(n.space, func() {
		must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(h.space))}))
		link, err := netlink.LinkByName(port)
		must(err)
		master, err := netlink.LinkByName(bridge)
		must(err)
		must(netlink.LinkSetMaster(link, master))
		up(port)
	})
	h.Do(func() {
		link, err := netlink.LinkByName("eth0")
		must(err)
		must(netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(8, ip.BitLen())}}))
		up("eth0")
		// Connections to addresses that nobody has must find a way out before capture rules see them.
		must(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}}))
	})
	return h
}

func (n *Network) run(space netns.NsHandle, f func()) {
	n.t.Helper()
	(&Host{n.t, space}).Do(f)
}

// Do runs f on a thread within the host. Sockets that f opens stay there.
func (h *Host) Do(f func()) {
	h.t.Helper()
	apart(h.t, func() { h.Enter(f) })
}

// Enter moves the calling thread, which must be locked and is never to be unlocked, to the host, and runs f.
func (h *Host) Enter(f func()) {
	if err := netns.Set(h.space); err != nil {
		panic(fmt.Errorf("entering a network namespace: %w", err))
	}
	f()
}

// Listen opens a TCP socket within the host.
func (h *Host) Listen(address string) net.Listener {
	h.t.Helper()
	var l net.Listener
	h.Do(func() {
		var err error
		l, err = net.Listen("tcp", address)
		must(err)
	})
	h.t.Cleanup(func() { _ = l.Close() })
	return l
}

// DialContext connects from within the host.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		h.Enter(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, address) })
	}()
	<-done
	return conn, err
}

// apart runs f on a thread of its own, which ends with f and takes its namespace with it.
func apart(t testing.TB, f func()) {
	t.Helper()
	done := make(chan any)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer func() { done <- recover() }()
		f()
	}()
	if p := <-done; p != nil {
		t.Fatalf("in a network namespace: %v", p)
	}
}

func up(name string) {
	link, err := netlink.LinkByName(name)
	must(err)
	must(netlink.LinkSetUp(link))
}

// must panics, since the test cannot be ended from another goroutine than its own; apart ends it.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
