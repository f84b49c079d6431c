package dns

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
)

// maxServers is how many servers of a resolv.conf count, as in the C library.
const maxServers = 3

const port = 53

// Servers returns the servers that the text of a resolv.conf names; where it names none, the host itself, as the C library does.
func Servers(resolvConf string) []netip.AddrPort {
	var out []netip.AddrPort
	lines := bufio.NewScanner(strings.NewReader(resolvConf))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" || len(out) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, port))
		}
	}
	if len(out) == 0 {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
	}
	return out
}

// Resolver returns a resolver for the proxy's own use. It reads hosts file and search path as ever; what it asks goes through the
// forwarder, so that it is asked once as long as the answer lasts, however many clusters want to know. The mesh's own names are not
// answered with the mesh's addresses: who resolves a cluster wants to know where it really is.
func (f *Forwarder) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // no datagrams, so that the resolver speaks as over TCP
		go f.inside(server)
		return client, nil
	}}
}

// inside answers the questions of a resolver of this process until it hangs up.
func (f *Forwarder) inside(conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer conn.Close()
	for {
		raw, err := readMessage(conn)
		if err != nil {
			return
		}
		q, err := parse(raw)
		if err != nil {
			return
		}
		reply := f.remembered(q)
		if reply == nil {
			if reply, err = f.forward(ctx, q); err != nil {
				return // the resolver takes that for a server that cannot be reached, and tries the next
			}
		}
		if writeMessage(conn, reply) != nil {
			return
		}
		f.lookups.Add(1)
	}
}
