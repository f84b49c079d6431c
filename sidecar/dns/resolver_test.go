package dns

import (
	"testing"
	"time"
)

// TestLookupsTellHowLongTheyLast: the shortest of all that the answer is made of, as it is by now.
func TestLookupsTellHowLongTheyLast(t *testing.T) {
	l := newLab(t, example)
	r := l.server.Forwarder.Resolver()
	look := func() time.Duration {
		t.Helper()
		addrs, lasts, err := r.LookupLasting(t.Context(), "ip4", "www.example.com.")
		if err != nil || len(addrs) != 1 || addrs[0].String() != "192.0.2.1" {
			t.Fatalf("%v, %v", addrs, err)
		}
		return lasts
	}
	if got := look(); got != 10*time.Second {
		t.Errorf("it lasts %v", got)
	}
	l.pass(4 * time.Second)
	if got := look(); got != 6*time.Second {
		t.Errorf("it lasts %v when 4 s have passed", got)
	}
	if addrs, err := r.LookupNetIP(t.Context(), "ip4", "www.example.com."); err != nil || len(addrs) != 1 {
		t.Errorf("%v, %v", addrs, err)
	}
}
