package tour

import (
	"errors"
	"testing"
)

// That a marker was not there is proven by a capture that saw everything only.
func TestVerdict(t *testing.T) {
	if found, err := verdict(true, 10, 3); !found || err != nil {
		t.Errorf("a marker in what was read: %v (%v)", found, err)
	}
	if found, err := verdict(false, 10, 0); found || err != nil {
		t.Errorf("no marker in all packets: %v (%v)", found, err)
	}
	if _, err := verdict(false, 10, 1); !errors.Is(err, errDropped) {
		t.Errorf("packets were missed: %v", err)
	}
	if _, err := verdict(false, 0, 0); err == nil {
		t.Error("a capture that saw nothing proves something")
	}
}
