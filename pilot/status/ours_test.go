package status

import "testing"

// What is written is recognised, and nothing of anybody else's.
func TestOurs(t *testing.T) {
	for _, c := range []struct {
		group, condition string
		want             bool
	}{
		{"networking.istio.io", "Accepted", true},
		{"security.istio.io", "Accepted", true},
		{"networking.istio.io", "Reconciled", false},
		{"gateway.networking.k8s.io", "Accepted", false},
	} {
		if got := Ours(c.group, c.condition); got != c.want {
			t.Errorf("%s of %s: %v", c.condition, c.group, got)
		}
	}
}
