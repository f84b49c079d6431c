//go:build !race || norace

package upstream

import (
	"net/netip"
	"testing"
)

func TestHashPickAllocatesNothing(t *testing.T) {
	for name, cfg := range kinds() {
		c := live(cfg, endpoint(a), endpoint(b), endpoint(d))
		count(c, 1)
		key := Key{Hash: 1, Given: true}
		if n := testing.AllocsPerRun(1000, func() {
			key.Hash *= 0x9e3779b97f4a7c15
			c.PickFor(key, netip.AddrPort{}, nil, 1)
		}); n != 0 {
			t.Errorf("%s: %v allocations per pick", name, n)
		}
	}
}
