package values

import (
	"regexp"
	"testing"
)

// TestLabels holds isLabel against the expression that it stands for.
func TestLabels(t *testing.T) {
	label := regexp.MustCompile(`^[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?$`)
	letters := []string{"", "a", "Z", "0", "_", "-", ".", " ", "\n", "é", "a-", "-a"}
	for _, a := range letters {
		for _, b := range letters {
			for _, c := range letters {
				if text := a + b + c; isLabel(text) != label.MatchString(text) {
					t.Errorf("%q: %t", text, isLabel(text))
				}
			}
		}
	}
}
