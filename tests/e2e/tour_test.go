package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/heddle-mesh/heddle/tests/tour"
)

// TestTour shows every claim, one subtest each: what it runs is what the samples' READMEs say.
func TestTour(t *testing.T) {
	c := connect(t)
	for _, claim := range tour.Claims() {
		t.Run(fmt.Sprintf("claim %d", claim.Number), func(t *testing.T) {
			if r := tour.Run(t.Context(), c, []tour.Claim{claim}, os.Stdout); r.Held != 1 {
				t.Errorf("claim %d does not hold: %s", claim.Number, claim.Text)
			}
		})
	}
}
