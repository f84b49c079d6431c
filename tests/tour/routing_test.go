package tour

import (
	"strings"
	"testing"
)

// A backend that fails, or that nobody asked, makes the claim fail.
func TestWholePage(t *testing.T) {
	const whole = `{"user":"ada","catalog":{"version":"v2"},"stock":{"version":"v1"},"ledger":{"version":"v2"},"items":[],"frontend":"v1"}`
	if err := wholePage(whole, "ada", "v2"); err != nil {
		t.Errorf("a whole page: %v", err)
	}
	for says, change := range map[string][2]string{
		"the stock (gRPC)":     {`"stock":{"version":"v1"}`, `"stock":{"version":"","error":"rpc error: code = Unavailable"}`},
		"the ledger (TCP)":     {`"ledger":{"version":"v2"}`, `"ledger":{"version":""}`},
		"the catalog (HTTP)":   {`"catalog":{"version":"v2"}`, `"catalog":{"version":"","error":"503 Service Unavailable"}`},
		`want "ada" and v2`:    {`"catalog":{"version":"v2"}`, `"catalog":{"version":"v1"}`},
		`showed user "grace"`:  {`"user":"ada"`, `"user":"grace"`},
		"reading the storefro": {`{"user"`, `<"user"`},
	} {
		if err := wholePage(strings.Replace(whole, change[0], change[1], 1), "ada", "v2"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
