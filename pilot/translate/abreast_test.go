package translate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAbreastDoesEachPieceOnce holds that work that is shared out is done, all of it and once.
func TestAbreastDoesEachPieceOnce(t *testing.T) {
	for _, n := range []int{0, 1, block, worthwhile - 1, worthwhile, worthwhile + 1, 10*block + 7} {
		done := make([]int, n)
		abreast(n, func(i int) { done[i]++ })
		if i := slices.IndexFunc(done, func(times int) bool { return times != 1 }); i >= 0 {
			t.Errorf("%d pieces: piece %d is done %d times", n, i, done[i])
		}
	}
}

// TestSortStableSortsAsSlicesDoes holds lists of any length, with much that is equal, against the library's.
func TestSortStableSortsAsSlicesDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 11, 12, 13, 25, 100, worthwhile - 1, worthwhile, 2*worthwhile + 1} {
		for _, values := range []int{1, 7, 10 * (n + 1)} {
			list := make([][2]int, n)
			for i := range list {
				list[i] = [2]int{random.IntN(values), i}
			}
			compare := func(a, b [2]int) int { return a[0] - b[0] }
			want := slices.Clone(list)
			slices.SortStableFunc(want, compare)
			if sortStable(list, compare); !slices.Equal(list, want) {
				t.Fatalf("%d of %d values: %v, want %v", n, values, list, want)
			}
		}
	}
}
