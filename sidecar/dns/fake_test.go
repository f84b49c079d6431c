package dns

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// upstream is a DNS server, over UDP and TCP.
type upstream struct {
	t       testing.TB
	address netip.AddrPort

	mu     sync.Mutex
	zone   func(dnsmessage.Question) dnsmessage.Message
	silent bool
	asked  map[string]int // by transport, type and name: "udp A www.example.com."
	last   dnsmessage.Message
}

func newUpstream(t testing.TB, zone func(dnsmessage.Question) dnsmessage.Message) *upstream {
	t.Helper()
	u := &upstream{t: t, address: netip.MustParseAddrPort(ports.Address(t)), zone: zone, asked: map[string]int{}}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(u.address))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(u.address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close(); l.Close() })
	go u.datagrams(socket)
	go u.accept(l)
	return u
}

func (u *upstream) datagrams(socket *net.UDPConn) {
	buf := make([]byte, maxMessage)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if reply := u.reply("udp", buf[:n]); reply != nil {
			_, _ = socket.WriteToUDPAddrPort(reply, from)
		}
	}
}

func (u *upstream) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if raw, err := readMessage(conn); err == nil {
			if reply := u.reply("tcp", raw); reply != nil {
				_ = writeMessage(conn, reply)
			}
		}
		conn.Close()
	}
}

// reply answers as the zone says, cut to 512 bytes over UDP.
func (u *upstream) reply(network string, raw []byte) []byte {
	var asked dnsmessage.Message
	if err := asked.Unpack(raw); err != nil || len(asked.Questions) != 1 {
		u.t.Errorf("a question that cannot be read: %x", raw)
		return nil
	}
	question := asked.Questions[0]
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked[network+" "+strings.TrimPrefix(question.Type.String(), "Type")+" "+strings.ToLower(question.Name.String())]++
	u.last = asked
	if u.silent {
		return nil
	}
	m := u.zone(question)
	m.ID, m.Response, m.RecursionAvailable, m.RecursionDesired = asked.ID, true, true, asked.RecursionDesired
	m.Questions = asked.Questions
	out, err := m.Pack()
	if err != nil {
		u.t.Error(err)
		return nil
	}
	if network == "udp" && len(out) > plainSize {
		m.Truncated, m.Answers = true, nil
		out, _ = m.Pack()
	}
	return out
}

// hush makes it answer no more.
func (u *upstream) hush() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.silent = true
}

func (u *upstream) count(what string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked[what]
}

func (u *upstream) total() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	sum := 0
	for _, n := range u.asked {
		sum += n
	}
	return sum
}

func name(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }

func a(owner string, ttl uint32, address string) dnsmessage.Resource {
	ip := netip.MustParseAddr(address)
	h := dnsmessage.ResourceHeader{Name: name(owner), Class: dnsmessage.ClassINET, TTL: ttl}
	if ip.Is4() {
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: ip.As4()}}
	}
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}}
}

func soa(ttl, minimum uint32) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name("example.com."), Class: dnsmessage.ClassINET, TTL: ttl},
		Body: &dnsmessage.SOAResource{NS: name("ns.example.com."), MBox: name("root.example.com."), Serial: 1, MinTTL: minimum}}
}

func cname(owner string, ttl uint32, target string) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name(owner), Class: dnsmessage.ClassINET, TTL: ttl},
		Body: &dnsmessage.CNAMEResource{CNAME: name(target)}}
}
