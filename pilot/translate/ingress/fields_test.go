package ingress

import "testing"

// TestEveryFieldIsListed fails when the API has a field that is neither honoured nor refused on purpose: a new version of the API brings no
// field that is silently ignored, or accepted by accident.
func TestEveryFieldIsListed(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			if unlisted, unknown := k.Compare(); len(unlisted)+len(unknown) > 0 {
				t.Errorf("neither honoured nor refused: %v\nlisted, but not in the API: %v", unlisted, unknown)
			}
		})
	}
}
