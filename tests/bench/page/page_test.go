package page

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPartsLeaveEachOtherAlone writes the parts in either order, and again.
func TestPartsLeaveEachOtherAlone(t *testing.T) {
	const hop, plane = "# What a hop costs\n\nmuch\n", Heading + "\nlittle\n"
	for name, order := range map[string][]Part{
		"the hop first": {Hop, ControlPlane}, "the control plane first": {ControlPlane, Hop}, "again": {Hop, ControlPlane, Hop, ControlPlane, ControlPlane, Hop},
	} {
		path := filepath.Join(t.TempDir(), "performance.md")
		for _, part := range order {
			if err := Write(path, part, []byte([...]string{hop, plane}[part])); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != hop+"\n"+plane {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}
