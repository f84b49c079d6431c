package upstream

import (
	"net"
	"net/netip"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/proxyheader"
)

// ProxyHeader is how a connection tells its server, first of all, whose it is (the PROXY protocol of HAProxy, section 2).
type ProxyHeader uint8

// The forms of the header.
const (
	NoProxyHeader ProxyHeader = iota
	ProxyV1                   // a line of text
	ProxyV2                   // binary
)

// proxiedIdle is how long a pooled connection that told of a client's connection waits for its next request: nobody else can use it, and the client
// may be gone.
const proxiedIdle = 15 * time.Second

// clientOf tells clients' connections apart, as PROXY headers do.
func clientOf(c *exchange.Connection) string {
	var space [128]byte
	return string(c.Destination.AppendTo(append(c.Source.AppendTo(space[:0]), ' ')))
}

// send writes the header. A nil client, or one without addresses, is the proxy itself.
func (v ProxyHeader) send(to net.Conn, client *exchange.Connection) error {
	if v == NoProxyHeader {
		return nil
	}
	var from, at netip.AddrPort
	if client != nil {
		from, at = client.Source, client.Destination
	}
	_, err := to.Write(v.header(from, at))
	return err
}

// header makes a header. Addresses of two families are told as IPv6 ones.
func (v ProxyHeader) header(from, to netip.AddrPort) []byte {
	src, dst := from.Addr().Unmap().WithZone(""), to.Addr().Unmap().WithZone("")
	known, four := src.IsValid() && dst.IsValid(), src.Is4() && dst.Is4()
	if known && !four {
		src, dst = netip.AddrFrom16(src.As16()), netip.AddrFrom16(dst.As16())
	}
	if v == ProxyV1 {
		return proxyheader.V1(known, four, netip.AddrPortFrom(src, from.Port()), netip.AddrPortFrom(dst, to.Port()))
	}
	return proxyheader.V2(known, four, netip.AddrPortFrom(src, from.Port()), netip.AddrPortFrom(dst, to.Port()))
}
