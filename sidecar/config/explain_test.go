package config

import (
	"net/netip"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Explain takes the chain that Choose takes, and says of each other what decided against it.
func TestChainsAreExplained(t *testing.T) {
	at := func(address string, c exchange.Connection) *exchange.Connection {
		c.Destination, c.Source = netip.MustParseAddrPort(address), netip.MustParseAddrPort("192.0.2.9:1")
		return &c
	}
	for name, c := range map[string]struct {
		l    *Listener
		conn *exchange.Connection
		want string
		of   map[string]Passed
	}{
		"plaintext on an HTTP port": {permissive, at("192.0.2.1:80", exchange.Connection{Transport: "raw_buffer"}), "http plain", map[string]Passed{
			"blackhole": {Of: "destination port"}, "http mtls": {Of: "transport protocol"}, "tcp plain": {Of: "destination port"}, "any tcp": {Of: "destination port", Fits: true}}},
		"foreign TLS on a TCP port": {permissive, at("192.0.2.1:90", exchange.Connection{Transport: "tls", Offered: []string{"h2"}}), "tcp tls", map[string]Passed{
			"tcp mtls": {Of: "application protocols"}, "tcp plain": {Of: "transport protocol"}}},
		"a longer wildcard": {gateway, at("192.0.2.1:1", exchange.Connection{Transport: "tls", SNI: "x.b.example"}), "wilder", map[string]Passed{
			"exact": {Of: "server name"}, "wild": {Of: "server name", Fits: true}, "net": {Of: "destination address"}}},
		"none": {gateway, at("192.0.2.1:1", exchange.Connection{SNI: "elsewhere"}), "default", map[string]Passed{"exact": {Of: "server name"}}},
	} {
		t.Run(name, func(t *testing.T) {
			chain, passed := c.l.Explain(c.conn)
			if chain != c.l.Choose(c.conn) || chain.Name != c.want {
				t.Errorf("got %q, want %q", chain.Name, c.want)
			}
			found := 0
			for _, p := range passed {
				if want, ok := c.of[p.Chain.Name]; ok {
					found++
					if p.Of != want.Of || p.Fits != want.Fits {
						t.Errorf("%s: %q, fits %t", p.Chain.Name, p.Of, p.Fits)
					}
				}
			}
			if found != len(c.of) {
				t.Errorf("%d of %d chains are told of", found, len(c.of))
			}
		})
	}
}
