//go:build linux

package kernel_test

import (
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/injector/redirect"
)

// answerDatagrams answers every datagram to an address with a word.
func (l *lab) answerDatagrams(ns netns.NsHandle, address, word string) {
	l.t.Helper()
	l.in(ns, func() {
		socket := must(net.ListenPacket("udp", address))
		l.t.Cleanup(func() { _ = socket.Close() })
		go func() {
			buf := make([]byte, 10)
			for {
				_, from, err := socket.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = socket.WriteTo([]byte(word), from)
			}
		}()
	})
}

// ask sends a datagram and returns what is answered by the very address that it was sent to.
func (l *lab) ask(d dial) (answer string) {
	l.t.Helper()
	l.in(l.pod, func() {
		check(l.t, unix.Setfsgid(d.gid))
		check(l.t, unix.Setfsuid(d.uid))
		dialer := net.Dialer{}
		if d.from != "" {
			dialer.LocalAddr = must(net.ResolveUDPAddr("udp", d.from))
		}
		conn := must(dialer.Dial("udp", d.to))
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		must(conn.Write([]byte("?")))
		buf := make([]byte, 10)
		answer = string(buf[:must(conn.Read(buf))])
	})
	return answer
}

func TestDNS(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, 15053, 15001)
	l.serve(l.peer, 53)
	for _, local := range []string{"127.0.0.1:15053", "[::1]:15053"} {
		l.answerDatagrams(l.pod, local, "proxy")
	}
	const otherV4 = "10.99.0.3"
	l.in(l.peer, func() { configure(t, otherV4) })
	for _, server := range []string{peerV4, peerV6, otherV4} {
		l.answerDatagrams(l.peer, net.JoinHostPort(server, "53"), "server")
		l.answerDatagrams(l.peer, net.JoinHostPort(server, "54"), "other port")
	}
	spec := redirect.DefaultSpec()
	spec.DNS = peerV4 + "," + peerV6
	l.apply(spec)
	for _, ip := range []struct{ server, pod string }{{peerV4, podV4}, {peerV6, podV6}} {
		server := net.JoinHostPort(ip.server, "53")
		for _, c := range []struct {
			why  string
			by   dial
			want string
		}{
			{"a process of the pod asks the proxy", dial{user, user, "", server}, "proxy"},
			{"root as well", dial{0, 0, "", server}, "proxy"},
			{"the proxy asks the server", dial{proxy, user, "", server}, "server"},
			{"its group as well", dial{user, proxy, "", server}, "server"},
			{"other UDP passes", dial{user, user, "", net.JoinHostPort(ip.server, "54")}, "other port"},
			{"a process that had a port", dial{user, user, net.JoinHostPort(ip.pod, "7777"), server}, "proxy"},
			{"leaves nothing for the proxy that has it next", dial{proxy, proxy, net.JoinHostPort(ip.pod, "7777"), server}, "server"},
			{"which leaves nothing either", dial{user, user, net.JoinHostPort(ip.pod, "7777"), server}, "proxy"},
		} {
			if got := l.ask(c.by); got != c.want {
				t.Errorf("%s: %s answered %+v", c.why, got, c.by)
			}
		}
		l.expect([]expectation{
			{"over TCP, too", l.pod, dial{user, user, "", server}, "15053 " + server},
			{"the proxy over TCP", l.pod, dial{proxy, proxy, "", server}, "53 " + server},
		})
	}
	if got := l.ask(dial{user, user, "", otherV4 + ":53"}); got != "server" {
		t.Errorf("a server that was not named is asked directly: %s answered", got)
	}
	spec.DNS = "*"
	l.apply(spec)
	if got := l.ask(dial{user, user, "", otherV4 + ":53"}); got != "proxy" {
		t.Errorf("with all servers: %s answered", got)
	}
}
