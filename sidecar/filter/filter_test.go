package filter

import "testing"

func TestSort(t *testing.T) {
	got, err := Sort([]Named{{Kind: Fault}, {Kind: Allow}, {Kind: Deny}, {Kind: CORS}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Kind{Deny, Allow, CORS, Fault} {
		if got[i].Kind != want {
			t.Errorf("place %d: %v, want %v", i, got[i].Kind, want)
		}
	}
	for _, k := range []Kind{0, Kinds} {
		if _, err := Sort([]Named{{Kind: k}}); err == nil {
			t.Errorf("kind %d is accepted", k)
		}
	}
	for k := Deny; k < Kinds; k++ {
		if k.String() == "" {
			t.Errorf("kind %d has no name", k)
		}
	}
}
