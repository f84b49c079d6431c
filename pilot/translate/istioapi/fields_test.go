package istioapi

import (
	"strings"
	"testing"

	networking "istio.io/api/networking/v1alpha3"
)

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

// TestDirectResponseBodies: a body, of text or of bytes, has at most 1 MiB, as in Istio.
func TestDirectResponseBodies(t *testing.T) {
	for size, want := range map[int]int{1 << 20: 0, 1<<20 + 1: 1} {
		text, bytes := &networking.HTTPBody_String_{String_: strings.Repeat("x", size)}, &networking.HTTPBody_Bytes{Bytes: make([]byte, size)}
		for _, body := range []*networking.HTTPBody{{Specifier: text}, {Specifier: bytes}} {
			r := &reader{}
			if got := r.direct("direct", &networking.HTTPDirectResponse{Status: 200, Body: body}); len(r.Issues) != want || len(got.Body) != size {
				t.Errorf("%d bytes: %d are read, %v", size, len(got.Body), r.Issues)
			}
		}
	}
}
