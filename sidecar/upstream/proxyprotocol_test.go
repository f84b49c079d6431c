package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func TestProxyHeader(t *testing.T) {
	const signature = "\r\n\r\n\x00\r\nQUIT\n"
	for name, c := range map[string]struct {
		version  ProxyHeader
		from, to string
		want     string
	}{
		"v1, IPv4":         {ProxyV1, "10.0.0.7:4711", "10.0.0.9:80", "PROXY TCP4 10.0.0.7 10.0.0.9 4711 80\r\n"},
		"v1, IPv6":         {ProxyV1, "[fd00::7]:4711", "[fd00::9]:80", "PROXY TCP6 fd00::7 fd00::9 4711 80\r\n"},
		"v1, IPv4 as IPv6": {ProxyV1, "[::ffff:10.0.0.7]:4711", "10.0.0.9:80", "PROXY TCP4 10.0.0.7 10.0.0.9 4711 80\r\n"},
		"v1, with a zone":  {ProxyV1, "[fe80::7%eth0]:4711", "[fe80::9]:80", "PROXY TCP6 fe80::7 fe80::9 4711 80\r\n"},
		"v1, mixed":        {ProxyV1, "10.0.0.7:4711", "[fd00::9]:80", "PROXY TCP6 ::ffff:10.0.0.7 fd00::9 4711 80\r\n"},
		"v1, nobody":       {ProxyV1, "", "", "PROXY UNKNOWN\r\n"},
		"v2, IPv4":         {ProxyV2, "10.0.0.7:4711", "10.0.0.9:80", signature + "\x21\x11\x00\x0c\x0a\x00\x00\x07\x0a\x00\x00\x09\x12\x67\x00\x50"},
		"v2, IPv6": {ProxyV2, "[fd00::7]:4711", "[fd00::9]:80", signature + "\x21\x21\x00\x24" +
			"\xfd\x00" + strings.Repeat("\x00", 13) + "\x07\xfd\x00" + strings.Repeat("\x00", 13) + "\x09\x12\x67\x00\x50"},
		"v2, nobody": {ProxyV2, "", "", signature + "\x20\x00\x00\x00"},
	} {
		var from, to netip.AddrPort
		if c.from != "" {
			from, to = netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to)
		}
		if got := string(c.version.header(from, to)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// client is a connection that a header tells of.
func client(port uint16) *exchange.Connection {
	return &exchange.Connection{Source: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), port), Destination: netip.MustParseAddrPort("10.96.0.1:80")}
}

// TestProxyHeaderKeepsClientsApart: a connection serves the requests of the one connection that it told of, and does not wait long for more.
func TestProxyHeaderKeepsClientsApart(t *testing.T) {
	c, wires, closed := pooled(t, Config{Sockets: []Socket{{Proxy: ProxyV1}}})
	for i, tc := range []struct {
		port  uint16
		wires int
	}{{1, 1}, {2, 2}, {1, 2}, {2, 2}, {3, 3}} {
		x := newExchange()
		x.Conn = client(tc.port)
		l, o := c.Hosts()[0].Open(x, nil, time.Time{})
		if o != exchange.OK || len(*wires) != tc.wires {
			t.Fatalf("step %d: %v, %d connections, want %d", i, o, len(*wires), tc.wires)
		}
		l.Close(time.Now())
	}
	if c.sweep(time.Now().Add(proxiedIdle / 2)); closed.Load() != 0 {
		t.Error("closed too early")
	}
	if c.sweep(time.Now().Add(2 * proxiedIdle)); closed.Load() != 3 || len(c.Hosts()[0].named) != 0 {
		t.Errorf("%d connections closed, %d pools left", closed.Load(), len(c.Hosts()[0].named))
	}
}

// greeter is a handshake that only says hello.
type greeter struct{}

func (greeter) Handshake(_ context.Context, raw net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	_, err := io.WriteString(raw, "hello\n")
	return raw, &exchange.Security{}, err
}

// TestProxyHeaderComesFirst: before the handshake, for relayed connections too.
func TestProxyHeaderComesFirst(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	lines := make(chan string, 2)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for range 2 {
			line, _ := r.ReadString('\n')
			lines <- line
		}
	}()
	c := live(Config{Sockets: []Socket{{TLS: greeter{}, Proxy: ProxyV1}}}, endpoint(ln.Addr().String()))
	conn, o, why := c.Hosts()[0].Connect(t.Context(), client(4711))
	if o != exchange.OK {
		t.Fatal(why)
	}
	defer conn.Release()
	if first, second := <-lines, <-lines; first != "PROXY TCP4 10.0.0.7 10.96.0.1 4711 80\r\n" || second != "hello\n" {
		t.Errorf("got %q, then %q", first, second)
	}
}

// TestChangedHeaderDrainsPools: connections that began otherwise are not used again.
func TestChangedHeaderDrainsPools(t *testing.T) {
	c, wires, _ := pooled(t, Config{})
	l := open(t, c)
	l.Close(time.Time{})
	cfg := *c.Config()
	cfg.Sockets = []Socket{{Proxy: ProxyV2}}
	c.apply(&cfg, nil)
	l = open(t, c)
	l.Close(time.Time{})
	if len(*wires) != 2 {
		t.Errorf("%d connections", len(*wires))
	}
}
