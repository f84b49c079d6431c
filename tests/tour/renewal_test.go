package tour

import (
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/ca/issue"
)

// When a certificate is due follows from what the authority writes into it and from what the proxy makes of that.
func TestDue(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const life = 200 * time.Second
	c := certificate{NotBefore: now.Add(-min(issue.DefaultBackdate, life/10)), NotAfter: now.Add(life)}
	earliest, latest := c.due()
	if earliest.Sub(now) != 90*time.Second || latest.Sub(now) != 110*time.Second {
		t.Errorf("due after %v to %v, want 90 s to 110 s", earliest.Sub(now), latest.Sub(now))
	}
}
