package upstream

import (
	"net/netip"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

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
