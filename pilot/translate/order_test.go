package translate

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOrderIsThatOfSorting holds that a list which is kept in order is the list as it would be sorted, whatever came and went.
func TestOrderIsThatOfSorting(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	var s order[int]
	var list []int
	for round := range 300 {
		before := slices.Clone(list)
		list = slices.DeleteFunc(slices.Clone(list), func(int) bool { return rnd.IntN(8) == 0 })
		for range rnd.IntN(4 + 150*(round%10/9)) {
			if n := rnd.IntN(400); !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
		if rnd.IntN(3) == 0 {
			list = before
		}
		if rnd.IntN(2) == 0 {
			rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		}
		unchanged := round > 0 && slices.Equal(list, s.given)
		old := slices.Clone(s.sorted)
		got, added, same := s.of(list, cmp.Compare[int])
		for _, n := range got {
			if slices.Contains(added, n) == slices.Contains(old, n) && !same {
				t.Fatalf("round %d: %d was there before: %t", round, n, slices.Contains(old, n))
			}
		}
		if want := slices.Sorted(slices.Values(list)); !slices.Equal(got, want) || same != unchanged {
			t.Fatalf("round %d: %v (same: %t), want %v", round, got, same, want)
		}
		if again, _, same := s.of(slices.Clone(list), cmp.Compare[int]); !same || !slices.Equal(again, got) {
			t.Fatalf("round %d: asked again for %v: %v, same: %t", round, list, again, same)
		}
	}
}
