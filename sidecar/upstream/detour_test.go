package upstream

import (
	"net/netip"
	"testing"
)

// TestPickElsewhere: after every so many tries their priorities are left out, the others take the traffic by health and weight, and where none is left it
// begins anew.
func TestPickElsewhere(t *testing.T) {
	c := live(Config{Balancer: RoundRobin}, endpoint(a), endpoint(b, priority(1), weight(3)), endpoint(d, priority(1)), endpoint("10.0.0.9:80", priority(2)))
	h := c.Hosts()
	shares := func(every int, tried ...*Host) [4]int {
		var out [4]int
		for range 400 {
			got, _ := c.PickElsewhere(Key{}, netip.AddrPort{}, tried, every, 1)
			for i := range h {
				if h[i] == got {
					out[i]++
				}
			}
		}
		return out
	}
	first, second, third := [4]int{400}, [4]int{0, 300, 100}, [4]int{3: 400}
	for name, c := range map[string]struct {
		every int
		tried []*Host
		want  [4]int
	}{
		"not yet":                     {2, h[:1], first},
		"now":                         {2, []*Host{h[0], h[0]}, second},
		"as before":                   {2, []*Host{h[0], h[0], h[1]}, second},
		"further":                     {2, []*Host{h[0], h[0], h[1], h[2]}, third},
		"each time":                   {1, []*Host{h[0], h[2]}, third},
		"nothing is left":             {1, []*Host{h[0], h[2], h[3]}, first},
		"nothing was left a try ago":  {1, []*Host{h[0], h[2], h[3], h[0]}, second},
		"not from the first":          {2, []*Host{h[0], h[1]}, third},
		"hosts that are gone are not": {1, []*Host{{}}, first},
	} {
		if got := shares(c.every, c.tried...); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestPickElsewhereByHealth: a priority that cannot take all of the traffic leaves some to the next, and one that can take none is nowhere to go.
func TestPickElsewhereByHealth(t *testing.T) {
	c := live(Config{}, endpoint(a), endpoint(b, priority(1), unhealthy), endpoint(d, priority(2)))
	h := c.Hosts()
	for range 20 {
		if got, _ := c.PickElsewhere(Key{}, netip.AddrPort{}, h[:1], 1, 1); got != h[2] {
			t.Fatalf("got %v", got.Endpoint().Address)
		}
	}
	c = live(Config{}, endpoint(a), endpoint(b, priority(1), unhealthy))
	if got, _ := c.PickElsewhere(Key{}, netip.AddrPort{}, c.Hosts()[:1], 1, 1); got != c.Hosts()[0] {
		t.Errorf("nowhere else to go: got %v", got.Endpoint().Address)
	}
}

// TestPickElsewhereByLocality: hosts that all have the same priority are told apart by where they are.
func TestPickElsewhereByLocality(t *testing.T) {
	for _, balancer := range []Balancer{LeastRequest, RingHash} {
		c := live(Config{Balancer: balancer}, endpoint(a, zone("r1", "z1")), endpoint(b, zone("r1", "z1")), endpoint(d, zone("r2", "z1")))
		for i := range 20 {
			if h, _ := c.PickElsewhere(Key{Hash: uint64(i) << 30, Given: true}, netip.AddrPort{}, c.Hosts()[:1], 1, 1); h != c.Hosts()[2] {
				t.Fatalf("got %v", h.Endpoint().Address)
			}
		}
	}
}
