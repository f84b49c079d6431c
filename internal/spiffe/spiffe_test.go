package spiffe

import "testing"

func TestParse(t *testing.T) {
	id, err := Parse("spiffe://cluster.local/ns/shop/sa/catalog")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Identity{"cluster.local", "shop", "catalog"}); id != want {
		t.Errorf("got %+v, want %+v", id, want)
	}
	if got := id.Principal(); got != "cluster.local/ns/shop/sa/catalog" {
		t.Errorf("principal: %q", got)
	}
	if got := id.ID().String(); got != id.String() {
		t.Errorf("round trip: %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{
		"", "cluster.local/ns/a/sa/b", "https://td/ns/a/sa/b", "spiffe://td/ns/a", "spiffe://td/ns/a/sa/", "spiffe://td/ns//sa/b",
		"spiffe://td/sa/a/ns/b", "spiffe://td/ns/a/sa/b/c", "spiffe://td/ns/a/sa/b?x=1", "spiffe://td/ns/../sa/b",
	} {
		if id, err := Parse(s); err == nil {
			t.Errorf("%q was accepted as %+v", s, id)
		}
	}
}
