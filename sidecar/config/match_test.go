package config

import (
	"net/netip"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// permissive is what an inbound listener has for a declared HTTP port, a declared TCP port and all others.
var permissive = &Listener{
	Chains: []*FilterChain{
		{Name: "blackhole", Match: Match{Port: 15006}},
		{Name: "http mtls", Match: Match{Port: 80, Transport: "tls", ALPN: []string{"istio", "istio-http/1.1", "istio-h2"}}},
		{Name: "http plain", Match: Match{Port: 80, Transport: "raw_buffer"}},
		{Name: "tcp mtls", Match: Match{Port: 90, Transport: "tls", ALPN: []string{"istio"}}},
		{Name: "tcp tls", Match: Match{Port: 90, Transport: "tls"}},
		{Name: "tcp plain", Match: Match{Port: 90, Transport: "raw_buffer"}},
		{Name: "any http", Match: Match{Transport: "raw_buffer", ALPN: []string{"http/1.1", "h2c"}}},
		{Name: "any tcp", Match: Match{Transport: "raw_buffer"}},
	},
}

var gateway = &Listener{
	Chains: []*FilterChain{
		{Name: "exact", Match: Match{ServerNames: []string{"a.example"}}},
		{Name: "wild", Match: Match{ServerNames: []string{"*.example"}}},
		{Name: "wilder", Match: Match{ServerNames: []string{"*.b.example"}}},
		{Name: "net", Match: Match{Prefixes: prefixes("10.1.0.0/16")}},
		{Name: "host", Match: Match{Prefixes: prefixes("10.1.2.3/32"), SourceIPs: prefixes("10.0.0.0/8")}},
	},
	Default: &FilterChain{Name: "default"},
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		l       *Listener
		port    uint16
		dst     string
		tls     bool
		sni     string
		offered []string
		want    string
	}{
		"mesh mTLS":                             {permissive, 80, "", true, "", []string{"istio-h2", "h2"}, "http mtls"},
		"plaintext":                             {permissive, 80, "", false, "", nil, "http plain"},
		"foreign TLS on an HTTP port is closed": {permissive, 80, "", true, "", []string{"h2"}, ""},
		"foreign TLS on a TCP port passes through": {permissive, 90, "", true, "", nil, "tcp tls"},
		"mesh mTLS on a TCP port":                  {permissive, 90, "", true, "", []string{"istio"}, "tcp mtls"},
		"undeclared port, HTTP":                    {permissive, 99, "", false, "", []string{"http/1.1"}, "any http"},
		"undeclared port, TCP":                     {permissive, 99, "", false, "", nil, "any tcp"},
		"a matched port commits":                   {permissive, 80, "", true, "", nil, ""},
		"the capture port itself":                  {permissive, 15006, "", false, "", nil, "blackhole"},
		"exact name":                               {gateway, 1, "", true, "A.example", nil, "exact"},
		"wildcard":                                 {gateway, 1, "", true, "x.example", nil, "wild"},
		"longer wildcard":                          {gateway, 1, "", true, "x.b.example", nil, "wilder"},
		"wildcard is not the domain itself":        {gateway, 1, "", true, "example", nil, "default"},
		"destination goes before name":             {gateway, 1, "10.1.9.9", true, "a.example", nil, "net"},
		"longest prefix, and its source fails":     {gateway, 1, "10.1.2.3", true, "", nil, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			dst := "192.0.2.1"
			if c.dst != "" {
				dst = c.dst
			}
			facts := &exchange.Connection{Destination: netip.AddrPortFrom(netip.MustParseAddr(dst), c.port), Transport: "raw_buffer",
				Source: netip.MustParseAddrPort("192.0.2.9:1"), SNI: c.sni, Offered: c.offered}
			if c.tls {
				facts.Transport = "tls"
			}
			got := ""
			if f := c.l.Choose(facts); f != nil {
				got = f.Name
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPorts(t *testing.T) {
	ps := Ports{{80, 81}, {90, 100}}
	for p, want := range map[uint16]bool{79: false, 80: true, 81: false, 90: true, 99: true, 100: false} {
		if ps.Has(p) != want {
			t.Errorf("%d: %v", p, !want)
		}
	}
}

func TestOtherPorts(t *testing.T) {
	for name, ps := range map[string]Ports{
		"none": nil, "some": {{90, 100}, {80, 81}}, "overlapping": {{10, 30}, {0, 12}, {20, 25}}, "up to the last": {{15006, 65536}}, "all": {{0, 65536}},
	} {
		others := ps.Others()
		for p := range 1 << 16 {
			if ps.Has(uint16(p)) == others.Has(uint16(p)) {
				t.Fatalf("%s: %d is in both or in neither of %v and %v", name, p, ps, others)
			}
		}
	}
}
