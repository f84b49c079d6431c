package config

import (
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func TestMisdirected(t *testing.T) {
	wide, narrow, rest := &FilterChain{Name: "wide"}, &FilterChain{Name: "narrow"}, &FilterChain{Name: "rest"}
	wide.Match.ServerNames, narrow.Match.ServerNames = []string{"*.example.com"}, []string{"partner.example.com", "[::1]"}
	edge := &Listener{Via: &exchange.Via{Gateway: true}, Chains: []*FilterChain{wide, narrow}}
	open := &Listener{Via: edge.Via, Chains: []*FilterChain{wide, narrow, rest}}
	sidecar := &Listener{Via: &exchange.Via{}, Chains: edge.Chains}
	for name, c := range map[string]struct {
		l     *Listener
		chain *FilterChain
		host  string
		plain bool
		want  bool
	}{
		"another server's":                   {edge, wide, "partner.example.com", false, true},
		"whatever its case and port":         {edge, wide, "Partner.Example.com:443", false, true},
		"its own":                            {edge, wide, "a.example.com", false, false},
		"the wide one's, asked at the other": {edge, narrow, "a.example.com:8443", false, true},
		"nobody's":                           {edge, wide, "example.org", false, false},
		"nobody's, where one takes all":      {open, wide, "example.org", false, true},
		"an address":                         {edge, wide, "[::1]:443", false, true},
		"without TLS":                        {edge, wide, "partner.example.com", true, false},
		"at a sidecar":                       {sidecar, wide, "partner.example.com", false, false},
	} {
		conn := &exchange.Connection{SNI: "a.example.com", Transport: "tls", Security: &exchange.Security{}}
		if c.plain {
			conn.Security = nil
		}
		if got := c.l.Misdirected(c.chain, conn, []byte(c.host)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if conn.SNI != "a.example.com" {
			t.Errorf("%s: the connection was changed", name)
		}
	}
}
