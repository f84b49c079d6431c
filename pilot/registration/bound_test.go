package registration

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMachinesOfAnAccountAreBounded: an account has so many machines and no more, whichever replica they ask; one that is registered may come back, and there is
// room again when one has gone.
func TestMachinesOfAnAccountAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.groups["web"] = &Group{NamespacedName: named("web"), Account: "other"}
		w.groups["new"] = &Group{NamespacedName: named("new"), Account: "another"}
		a, stopA := w.replica("a", true)
		defer stopA()
		b, stopB := w.replica("b", false)
		defer stopB()
		most := 2
		a.Most = func() int { return most }
		b.Most = a.Most
		register := func(r *Registrar, group, account, address string) (*Registration, error) {
			return r.Register(t.Context(), Claim{Group: named(group), Account: account, Address: address})
		}
		first, err := register(a, "db", "sql", "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := register(a, "db", "sql", "10.0.0.2"); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*Registrar{a, b} {
			_, err := register(r, "db", "sql", "10.0.0.3")
			var refusal *Refusal
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, "2 machines of service account shop/sql") || !strings.Contains(refusal.Reason, "no more than 2 may be (the setting machinesPerAccount)") {
				t.Errorf("one too many: %v", err)
			}
		}
		if _, err := register(b, "db", "sql", "10.0.0.2"); err != nil {
			t.Errorf("one that comes back: %v", err)
		}
		if _, err := register(b, "web", "other", "10.0.0.3"); err != nil {
			t.Errorf("one of another account: %v", err)
		}
		first.Leave()
		time.Sleep(time.Minute)
		if _, err := register(b, "db", "sql", "10.0.0.3"); err != nil {
			t.Errorf("when one has gone: %v", err)
		}
		if _, err := register(a, "db", "sql", "10.0.0.4"); err == nil {
			t.Error("one too many, again")
		}
		most = 3
		if _, err := register(a, "db", "sql", "10.0.0.4"); err != nil {
			t.Errorf("when the mesh lets one more: %v", err)
		}
		most = -1
		if _, err := register(a, "new", "another", "10.0.0.5"); err == nil {
			t.Error("one more where none is to be added")
		}
		if _, err := register(b, "db", "sql", "10.0.0.4"); err != nil {
			t.Errorf("one that comes back where none is to be added: %v", err)
		}
	})
}
