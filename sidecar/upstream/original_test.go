package upstream

import (
	"net/netip"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestOriginalDestinationsAtAnotherPort holds that a cluster with a port dials its clients' choices there, each address on connections of its own, and
// that what another configuration says holds at once.
func TestOriginalDestinationsAtAnotherPort(t *testing.T) {
	r := NewRegistry(Options{})
	for _, at := range []struct {
		port         uint16
		dst, dialled string
	}{
		{0, "192.0.2.1:80", "192.0.2.1:80"},
		{8443, "192.0.2.1:80", "192.0.2.1:8443"},
		{8443, "192.0.2.2:80", "192.0.2.2:8443"},
		{8443, "[2001:db8::1]:80", "[2001:db8::1]:8443"},
		{9443, "192.0.2.1:80", "192.0.2.1:9443"},
		{9443, "192.0.2.1:0", ""},
	} {
		cfg := &Config{Info: exchange.ClusterInfo{Name: "c"}, Discovery: OriginalDst, Balancer: Passthrough, Port: at.port}
		c := r.Apply(map[string]*Config{"c": cfg}, nil).Get("c")
		h, o := c.Pick(netip.MustParseAddrPort(at.dst), nil, 1)
		switch {
		case at.dialled == "":
			if o != exchange.NoHealthyUpstream {
				t.Errorf("%s: outcome %v", at.dst, o)
			}
		case o != exchange.OK || h.Endpoint().Address.String() != at.dialled:
			t.Errorf("%s at port %d: outcome %v, %s dialled", at.dst, at.port, o, h.Endpoint().Address)
		}
	}
}

// TestOriginalDestinationsHaveFacts holds that a cluster which dials its clients' choice knows who is at an address that its assignment
// names, and nobody at any other.
func TestOriginalDestinationsHaveFacts(t *testing.T) {
	cfg := &Config{Info: exchange.ClusterInfo{Name: "c"}, Discovery: OriginalDst, Balancer: Passthrough, Assignment: "headless"}
	named := func(id string) *Assignment {
		return &Assignment{Name: "headless", Endpoints: []*exchange.Endpoint{endpoint(a, func(e *exchange.Endpoint) { e.Identity = id })}}
	}
	r := NewRegistry(Options{})
	apply := func(assignment *Assignment) *Cluster {
		known := map[string]*Assignment{}
		if assignment != nil {
			known["headless"] = assignment
		}
		return r.Apply(map[string]*Config{"c": cfg}, known).Get("c")
	}
	identity := func(c *Cluster, address string) string {
		t.Helper()
		h, o := c.Pick(netip.MustParseAddrPort(address), nil, 1)
		if o != exchange.OK {
			t.Fatalf("%s: outcome %v", address, o)
		}
		return h.Endpoint().Identity
	}
	if got := identity(apply(nil), a); got != "" {
		t.Errorf("without an assignment: %q", got)
	}
	c := apply(named("spiffe://td/ns/n/sa/one"))
	if got := identity(c, a); got != "spiffe://td/ns/n/sa/one" {
		t.Errorf("with an assignment: %q", got)
	}
	if got := identity(c, b); got != "" {
		t.Errorf("at another address: %q", got)
	}
	if got := identity(apply(named("spiffe://td/ns/n/sa/two")), a); got != "spiffe://td/ns/n/sa/two" {
		t.Errorf("after a change: %q", got)
	}
	if got := identity(apply(nil), a); got != "" {
		t.Errorf("after the end of the assignment: %q", got)
	}
}
