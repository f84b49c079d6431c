package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// TestRecoveredPanicsAreLogged holds the proxy to say of each panic that it counts what the end-to-end tests look for in the logs.
func TestRecoveredPanicsAreLogged(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../../sidecar", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		counted := strings.Count(string(text), ".Panicked()")
		if counted == 0 {
			return nil
		}
		files++
		if said := strings.Count(string(text), `Error("`+telemetry.Recovered); said < counted {
			t.Errorf("%s counts panics at %d places and logs them as %q at %d", path, counted, telemetry.Recovered, said)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("nothing in sidecar counts panics: this test looks at the wrong files")
	}
}
