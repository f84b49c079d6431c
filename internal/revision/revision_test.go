package revision_test

import (
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/internal/revision"
)

// The default revision has the names that an installation without revisions has, so that one becomes the other.
func TestNames(t *testing.T) {
	for of, want := range map[string]string{"": "heddled", "default": "heddled", "canary": "heddled-canary"} {
		if got := revision.Name("heddled", of); got != want {
			t.Errorf("%q: %s, want %s", of, got, want)
		}
	}
	for of, want := range map[string]string{"": "default", "default": "default", "canary": "canary"} {
		if got := revision.Label(of); got != want {
			t.Errorf("%q: %s, want %s", of, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, ok := range map[string]bool{"canary": true, "v1-2": true, "1": true, "": false, "V1": false, "1.2": false, "-a": false, "a-": false,
		strings.Repeat("a", 40): true, strings.Repeat("a", 41): false} {
		if err := revision.Check(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
