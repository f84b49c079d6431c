package naming

import (
	"slices"
	"testing"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"a.example.com", "a.example.com", true},
		{"a.example.com", "b.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*", "anything", true},
		{"*", "*.example.com", true},
		{"*.example.com", "*.a.example.com", true},
		{"*.a.example.com", "*.example.com", false},
		{"a.example.com", "*.example.com", false},
	} {
		if got := Covers(c.pattern, c.host); got != c.want {
			t.Errorf("%s covers %s: %t", c.pattern, c.host, got)
		}
	}
}

// TestKnows holds that what a dialect brought is for proxies of it and of later ones.
func TestKnows(t *testing.T) {
	for of, want := range map[int][4]bool{1: {true, false, false, false}, 2: {true, true, false, false}, 3: {true, true, true, false}, 0: {true, true, true, true}} {
		for i, knows := range want {
			if got := (Class{Older: of}).Knows(i + 1); got != knows {
				t.Errorf("a proxy of dialect %d knows what %d brought: %t", of, i+1, got)
			}
		}
	}
}

func TestNarrower(t *testing.T) {
	for _, c := range []struct {
		a, b, want string
	}{
		{"*", "a.com", "a.com"}, {"a.com", "*", "a.com"}, {"*.com", "*.a.com", "*.a.com"}, {"a.com", "b.com", ""}, {"*.a.com", "*.b.com", ""},
	} {
		if got, ok := Narrower(c.a, c.b); got != c.want || ok != (c.want != "") {
			t.Errorf("of %s and %s: %q, %t", c.a, c.b, got, ok)
		}
	}
}

func TestShorter(t *testing.T) {
	for _, c := range []struct {
		host  string
		local bool
		want  []string
	}{
		{"a.n.svc.cluster.local", true, []string{"a.n.svc", "a.n", "a"}},
		{"a.n.svc.cluster.local", false, []string{"a.n.svc", "a.n"}},
		{"a.n.svc.clusterset.local", true, nil},
	} {
		if got := Shorter(c.host, "cluster.local", c.local); !slices.Equal(got, c.want) {
			t.Errorf("%s is called %v", c.host, got)
		}
	}
}

func TestFamilies(t *testing.T) {
	v4, both := Class{IPv4: true}, Class{IPv4: true, IPv6: true}
	if v4.Usable("fd00::1") || !v4.Usable("10.0.0.1") || !both.Usable("fd00::/64") || both.Usable("name") {
		t.Error("an address of a family that the proxy lacks is usable, or the other way round")
	}
	if got := (Class{IPv6: true}).ListenerName("", 80); got != "::_80" {
		t.Errorf("an IPv6 listener is called %s", got)
	}
	if IsBlock("10.0.0.1/32") || !IsBlock("10.0.0.0/8") || Address("10.0.0.1/32") != "10.0.0.1" {
		t.Error("a single address is taken for a block, or the other way round")
	}
}
