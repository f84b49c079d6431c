//go:build !race || norace

package route

import "testing"

// TestKnownHostsAllocateNothing holds for what was found, and for what the control plane does not have.
func TestKnownHostsAllocateNothing(t *testing.T) {
	table := onDemand(t)
	for _, host := range []string{"A.shop:80", "nowhere", "new"} {
		x := ask("GET " + host + " /")
		if n := testing.AllocsPerRun(100, func() { table.Match(x) }); n > 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}
