package compatibility_test

import (
	"testing"

	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/translate/compatibility"
)

func TestDocument(t *testing.T) {
	golden.File(t, "../../../docs/compatibility.md", compatibility.Document())
}

// TestEveryKindIsThere: a kind that is read has a table, so that the document cannot forget it.
func TestEveryKindIsThere(t *testing.T) {
	listed := map[string]bool{}
	for _, k := range compatibility.Kinds() {
		listed[k.Name] = true
	}
	for _, k := range inputs.Kinds() {
		if k.Implemented != listed[k.Kind] {
			t.Errorf("%s: implemented %v, in the document %v", k.Kind, k.Implemented, listed[k.Kind])
		}
	}
}
