//go:build linux

package kernel_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/injector/redirect"
	"github.com/heddle-mesh/heddle/injector/redirect/kernel"
)

const (
	podV4, peerV4 = "10.99.0.1", "10.99.0.2"
	podV6, peerV6 = "fd99::1", "fd99::2"
	user          = 1000
	proxy         = 1337
)

// lab is two network namespaces, a pod and a peer, joined by a cable.
type lab struct {
	t         *testing.T
	pod, peer netns.NsHandle
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	l := &lab{t: t}
	apart(t, func() {
		l.peer = must(netns.New())
		l.pod = must(netns.New()) // the thread is in it now
		check(t, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(l.peer)),
		}))
	})
	t.Cleanup(func() { _ = l.pod.Close(); _ = l.peer.Close() })
	l.in(l.pod, func() { configure(t, podV4, podV6) })
	l.in(l.peer, func() { configure(t, peerV4, peerV6) })
	return l
}

func configure(t *testing.T, addresses ...string) {
	t.Helper()
	for _, name := range []string{"lo", "eth0"} {
		check(t, netlink.LinkSetUp(must(netlink.LinkByName(name))))
	}
	for _, a := range addresses {
		ip := net.ParseIP(a)
		bits := 24
		if ip.To4() == nil {
			bits = 64
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, map[bool]int{true: 32, false: 128}[ip.To4() != nil])}}
		if ip.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		check(t, netlink.AddrAdd(must(netlink.LinkByName("eth0")), addr))
	}
}

// apart runs f on a thread of its own, which ends with f and takes its namespace and user with it.
func apart(t *testing.T, f func()) {
	t.Helper()
	done := make(chan any)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer func() { done <- recover() }()
		f()
	}()
	if p := <-done; p != nil {
		t.Fatalf("in a namespace: %v", p)
	}
}

func (l *lab) in(ns netns.NsHandle, f func()) {
	l.t.Helper()
	apart(l.t, func() {
		check(l.t, netns.Set(ns))
		f()
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		panic(err)
	}
}

// serve answers each connection with the port it came in on and the destination that it was made to.
func (l *lab) serve(ns netns.NsHandle, ports ...int) {
	l.t.Helper()
	l.in(ns, func() {
		for _, port := range ports {
			for _, network := range []string{"tcp4", "tcp6"} {
				listener := must(net.Listen(network, ":"+strconv.Itoa(port)))
				l.t.Cleanup(func() { _ = listener.Close() })
				go answer(listener, port)
			}
		}
	})
}

func answer(listener net.Listener, port int) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "%d %s", port, original(conn.(*net.TCPConn)))
		_ = conn.Close()
	}
}

// original asks connection tracking, where there is any, where c was going.
func original(c *net.TCPConn) netip.AddrPort {
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	out := netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	raw, _ := c.SyscallConn()
	_ = raw.Control(func(fd uintptr) {
		if c.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
			if req, err := unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST); err == nil {
				b := req.Multiaddr
				out = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
			}
			return
		}
		if info, err := unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, unix.SO_ORIGINAL_DST); err == nil {
			port := make([]byte, 2)
			binary.NativeEndian.PutUint16(port, info.Addr.Port)
			out = netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), binary.BigEndian.Uint16(port))
		}
	})
	return out
}

// dial is one connection: by whom, from where (an address, with or without a port), to where.
type dial struct {
	uid, gid int
	from, to string
}

// call returns what the server said, or "refused".
func (l *lab) call(ns netns.NsHandle, d dial) (answer string) {
	l.t.Helper()
	l.in(ns, func() {
		check(l.t, unix.Setfsgid(d.gid))
		check(l.t, unix.Setfsuid(d.uid))
		dialer := net.Dialer{Timeout: 2 * time.Second}
		if d.from != "" {
			from, err := netip.ParseAddrPort(d.from)
			if err != nil {
				from = netip.AddrPortFrom(netip.MustParseAddr(d.from), 0)
			}
			dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
		conn, err := dialer.Dial("tcp", d.to)
		if errors.Is(err, syscall.ECONNREFUSED) {
			answer = "refused"
			return
		}
		check(l.t, err)
		defer conn.Close()
		said, _ := io.ReadAll(conn) // to the end: who closes first keeps the port for a minute
		answer = string(said)
	})
	return answer
}

func (l *lab) apply(spec redirect.Spec) redirect.Ruleset {
	l.t.Helper()
	rules := redirect.Rules(must(spec.Config()))
	l.in(l.pod, func() {
		check(l.t, kernel.Apply(rules))
		check(l.t, kernel.Verify(rules))
	})
	return rules
}

type expectation struct {
	why  string
	ns   netns.NsHandle
	dial dial
	want string
}

func (l *lab) expect(cases []expectation) {
	l.t.Helper()
	for _, c := range cases {
		if got := l.call(c.ns, c.dial); got != c.want {
			l.t.Errorf("%s: %+v answered %q, want %q", c.why, c.dial, got, c.want)
		}
	}
}

func TestCapture(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, 15001, 15006, 8080, 15020, 15021, 15090)
	l.serve(l.peer, 80, 8080)
	l.apply(redirect.DefaultSpec())
	for _, ip := range []struct{ pod, peer, local, deliver string }{
		{podV4, peerV4, "127.0.0.1", "127.0.0.6"}, {podV6, peerV6, "::1", "::6"},
	} {
		at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
		saw := func(by int, host string, port int) string { return fmt.Sprintf("%d %s", by, at(host, port)) }
		l.expect([]expectation{
			{"inbound goes to the proxy", l.peer, dial{user, user, "", at(ip.pod, 8080)}, saw(15006, ip.pod, 8080)},
			{"inbound of a port that nobody serves as well", l.peer, dial{user, user, "", at(ip.pod, 9999)}, saw(15006, ip.pod, 9999)},
			{"outbound goes to the proxy", l.pod, dial{user, user, "", at(ip.peer, 80)}, saw(15001, ip.peer, 80)},
			{"root's as well", l.pod, dial{0, 0, "", at(ip.peer, 80)}, saw(15001, ip.peer, 80)},
			{"the proxy's user passes", l.pod, dial{proxy, user, "", at(ip.peer, 80)}, saw(80, ip.peer, 80)},
			{"the proxy's group passes", l.pod, dial{user, proxy, "", at(ip.peer, 80)}, saw(80, ip.peer, 80)},
			{"localhost is left alone", l.pod, dial{user, user, "", at(ip.local, 8080)}, saw(8080, ip.local, 8080)},
			{"the proxy reaches localhost", l.pod, dial{proxy, proxy, "", at(ip.local, 8080)}, saw(8080, ip.local, 8080)},
			{"the pod's own address is left alone", l.pod, dial{user, user, "", at(ip.pod, 8080)}, saw(8080, ip.pod, 8080)},
			{"the proxy calling its own pod comes in", l.pod, dial{proxy, proxy, "", at(ip.pod, 8080)}, saw(15006, ip.pod, 8080)},
			{"the proxy delivers inbound traffic", l.pod, dial{proxy, proxy, ip.deliver, at(ip.pod, 8080)}, saw(8080, ip.pod, 8080)},
			{"capture ports refuse other pods", l.peer, dial{user, user, "", at(ip.pod, 15001)}, "refused"},
			{"capture ports refuse other pods", l.peer, dial{user, user, "", at(ip.pod, 15006)}, "refused"},
			{"capture ports refuse the application", l.pod, dial{user, user, "", at(ip.local, 15001)}, "refused"},
			{"capture ports refuse the application", l.pod, dial{user, user, "", at(ip.pod, 15006)}, "refused"},
			{"metrics and probes are asked directly", l.peer, dial{user, user, "", at(ip.pod, 15020)}, saw(15020, ip.pod, 15020)},
			{"readiness is asked directly", l.peer, dial{user, user, "", at(ip.pod, 15021)}, saw(15021, ip.pod, 15021)},
			{"proxy metrics are asked directly", l.peer, dial{user, user, "", at(ip.pod, 15090)}, saw(15090, ip.pod, 15090)},
		})
	}
}

func TestDeadProxyFailsClosed(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, 8080)
	l.serve(l.peer, 80)
	l.apply(redirect.DefaultSpec())
	l.expect([]expectation{
		{"inbound", l.peer, dial{user, user, "", podV4 + ":8080"}, "refused"},
		{"outbound", l.pod, dial{user, user, "", peerV4 + ":80"}, "refused"},
		{"inbound v6", l.peer, dial{user, user, "", "[" + podV6 + "]:8080"}, "refused"},
		{"outbound v6", l.pod, dial{user, user, "", "[" + peerV6 + "]:80"}, "refused"},
	})
}

// TestWhatTheProxyLeavesBehind: connection tracking remembers a connection of the proxy that nobody answered; one of the application from the same port to the
// same server is not taken for it.
func TestWhatTheProxyLeavesBehind(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, 15001)
	l.apply(redirect.DefaultSpec())
	const lateV4, lateV6 = "10.99.0.3", "fd99::3"
	neighbour := func(do func(*netlink.Neigh) error, late string) {
		link := must(netlink.LinkByName("eth0"))
		check(t, do(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.ParseIP(late), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}, State: netlink.NUD_PERMANENT}))
	}
	for _, ip := range []struct{ pod, late string }{{podV4, lateV4}, {podV6, lateV6}} {
		l.in(l.pod, func() { neighbour(netlink.NeighAdd, ip.late) }) // what is sent there is lost
		from, to := net.JoinHostPort(ip.pod, "7777"), net.JoinHostPort(ip.late, "80")
		l.in(l.pod, func() {
			check(t, unix.Setfsgid(proxy))
			check(t, unix.Setfsuid(proxy))
			dialer := net.Dialer{Timeout: 200 * time.Millisecond, LocalAddr: must(net.ResolveTCPAddr("tcp", from))}
			if conn, err := dialer.Dial("tcp", to); err == nil {
				_ = conn.Close()
				t.Error("there is nobody, and yet somebody answers")
			}
			check(t, unix.Setfsuid(0))
			neighbour(netlink.NeighDel, ip.late)
		})
	}
	l.in(l.peer, func() { configure(t, lateV4, lateV6) })
	l.serve(l.peer, 80)
	for _, ip := range []struct{ pod, late string }{{podV4, lateV4}, {podV6, lateV6}} {
		from, to := net.JoinHostPort(ip.pod, "7777"), net.JoinHostPort(ip.late, "80")
		l.expect([]expectation{
			{"what the proxy left is not the application's", l.pod, dial{user, user, from, to}, "refused"},
			{"from another port it is captured", l.pod, dial{user, user, net.JoinHostPort(ip.pod, "7778"), to}, "15001 " + to},
			{"the proxy gets there", l.pod, dial{proxy, proxy, net.JoinHostPort(ip.pod, "7779"), to}, "80 " + to},
			{"what has ended is nobody's", l.pod, dial{user, user, net.JoinHostPort(ip.pod, "7779"), to}, "15001 " + to},
		})
	}
	if n := l.refusals("owned"); n < 2 {
		t.Errorf("%d refusals are counted, want one of either family at least", n)
	}
	if n := l.refusals("input"); n != 0 {
		t.Errorf("%d refusals at capture ports are counted, and there was none", n)
	}
}

// refusals is how many packets the rules of a chain have refused.
func (l *lab) refusals(chain string) (n uint64) {
	l.t.Helper()
	l.in(l.pod, func() {
		table := &nftables.Table{Name: redirect.TableName, Family: nftables.TableFamilyINet}
		for _, rule := range must(must(nftables.New()).GetRules(table, &nftables.Chain{Name: chain, Table: table})) {
			for _, e := range rule.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					n += c.Packets
				}
			}
		}
	})
	return n
}

func TestExclusions(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, 15001, 15006, 8080, 22)
	l.serve(l.peer, 80, 3306)
	l.apply(redirect.Spec{
		InboundPorts: "*", ExcludeInboundPorts: "22", OutboundCIDRs: "10.99.0.0/16,fd99::/64", ExcludeOutboundPorts: "3306",
	})
	l.expect([]expectation{
		{"excluded inbound port", l.peer, dial{user, user, "", podV4 + ":22"}, "22 " + podV4 + ":22"},
		{"excluded outbound port", l.pod, dial{user, user, "", peerV4 + ":3306"}, "3306 " + peerV4 + ":3306"},
		{"included range", l.pod, dial{user, user, "", peerV4 + ":80"}, "15001 " + peerV4 + ":80"},
		{"included range v6", l.pod, dial{user, user, "", "[" + peerV6 + "]:80"}, "15001 [" + peerV6 + "]:80"},
	})
	l.apply(redirect.Spec{InboundPorts: "9090", OutboundCIDRs: "*", ExcludeOutboundCIDRs: "10.99.0.0/30,fd99::2"})
	l.expect([]expectation{
		{"port not included", l.peer, dial{user, user, "", podV4 + ":8080"}, "8080 " + podV4 + ":8080"},
		{"included port", l.peer, dial{user, user, "", podV4 + ":9090"}, "15006 " + podV4 + ":9090"},
		{"excluded range", l.pod, dial{user, user, "", peerV4 + ":80"}, "80 " + peerV4 + ":80"},
		{"excluded address v6", l.pod, dial{user, user, "", "[" + peerV6 + "]:80"}, "80 [" + peerV6 + "]:80"},
	})
	l.apply(redirect.Spec{InboundPorts: "*", OutboundCIDRs: "*", ExcludeInterfaces: "eth0"})
	l.expect([]expectation{
		{"excluded interface, in", l.peer, dial{user, user, "", podV4 + ":8080"}, "8080 " + podV4 + ":8080"},
		{"excluded interface, out", l.pod, dial{user, user, "", peerV4 + ":80"}, "80 " + peerV4 + ":80"},
	})
}

func TestUDPIsUntouched(t *testing.T) {
	l := newLab(t)
	l.apply(redirect.DefaultSpec())
	l.in(l.peer, func() {
		socket := must(net.ListenPacket("udp", peerV4+":53"))
		t.Cleanup(func() { _ = socket.Close() })
		go func() {
			buf := make([]byte, 10)
			if n, from, err := socket.ReadFrom(buf); err == nil {
				_, _ = socket.WriteTo(buf[:n], from)
			}
		}()
	})
	l.in(l.pod, func() {
		conn := must(net.Dial("udp", peerV4+":53"))
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
		must(conn.Write([]byte("name?")))
		buf := make([]byte, 10)
		if n := must(conn.Read(buf)); string(buf[:n]) != "name?" {
			t.Errorf("answer %q", buf[:n])
		}
	})
}

func TestApplyTwiceReplaces(t *testing.T) {
	l := newLab(t)
	first := l.apply(redirect.DefaultSpec())
	l.apply(redirect.DefaultSpec())
	second := l.apply(redirect.Spec{InboundPorts: "80", OutboundCIDRs: "10.0.0.0/8"})
	l.in(l.pod, func() {
		if err := kernel.Verify(first); err == nil {
			t.Error("the rules of before are still there")
		}
		tables := must(must(nftables.New()).ListTables())
		if len(tables) != 1 {
			t.Errorf("%d tables, want one", len(tables))
		}
		check(t, kernel.Remove(second))
		check(t, kernel.Remove(second))
		if err := kernel.Verify(second); err == nil {
			t.Error("removed rules are verified")
		}
	})
}

func TestVerifySeesTampering(t *testing.T) {
	l := newLab(t)
	rules := l.apply(redirect.DefaultSpec())
	l.in(l.pod, func() {
		conn := must(nftables.New())
		table := &nftables.Table{Name: rules.Table, Family: nftables.TableFamilyINet}
		chain := &nftables.Chain{Name: "output", Table: table}
		check(t, conn.DelRule(must(conn.GetRules(table, chain))[0]))
		check(t, conn.Flush())
		if err := kernel.Verify(rules); err == nil {
			t.Error("a deleted rule goes unnoticed")
		}
	})
}
