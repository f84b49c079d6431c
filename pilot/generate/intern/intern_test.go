package intern

import (
	"slices"
	"testing"
)

func TestEqualListsAreOne(t *testing.T) {
	l := New[string]()
	a, b := l.Of([]string{"x", "y"}), l.Of([]string{"x", "y"})
	if a != b || a == l.Of([]string{"y", "x"}) || l.Of(nil) != nil {
		t.Error("lists are not told apart by what they hold")
	}
	if got := a.Slice(); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("the list holds %v", got)
	}
	for item := range a.All {
		if item != "x" {
			t.Errorf("the first is %s", item)
		}
		break
	}
	l.Round()
	if again := l.Of([]string{"x", "y"}); again != a {
		t.Error("a list is forgotten though the round before used it")
	}
}
