package translate

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// How work is shared out: fewer pieces than worthwhile are done at once, more are taken from the pile by the block.
const (
	worthwhile = 512
	block      = 64
)

// abreast does pieces of work that have nothing to do with each other, 0 to n-1, on as many processors as there are. Each writes what is its own alone, so
// that the result is that of doing one after the other.
func abreast(n int, do func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n/block)
	if n < worthwhile || workers < 2 {
		for i := range n {
			do(i)
		}
		return
	}
	var taken atomic.Int64
	work := func() {
		for {
			end := int(taken.Add(block))
			if end-block >= n {
				return
			}
			for i := end - block; i < min(end, n); i++ {
				do(i)
			}
		}
	}
	var others sync.WaitGroup
	for range workers - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

// both does two things that have nothing to do with each other.
func both(one, other func()) {
	var wait sync.WaitGroup
	wait.Go(other)
	one()
	wait.Wait()
}

// sortStable sorts a list by merging, with half the comparisons of slices.SortStableFunc and a second list. Long ones are sorted in two parts at once.
func sortStable[T any](list []T, compare func(a, b T) int) {
	spare := make([]T, len(list))
	if len(list) < worthwhile {
		mergeSort(list, spare, compare)
		return
	}
	half := len(list) / 2
	both(func() { mergeSort(list[:half], spare[:half], compare) }, func() { mergeSort(list[half:], spare[half:], compare) })
	merge(list, spare, half, compare)
}

func mergeSort[T any](list, spare []T, compare func(a, b T) int) {
	if len(list) <= 12 {
		for i := 1; i < len(list); i++ {
			for j := i; j > 0 && compare(list[j], list[j-1]) < 0; j-- {
				list[j], list[j-1] = list[j-1], list[j]
			}
		}
		return
	}
	half := len(list) / 2
	mergeSort(list[:half], spare[:half], compare)
	mergeSort(list[half:], spare[half:], compare)
	merge(list, spare, half, compare)
}

// merge merges the sorted parts of a list before and from half.
func merge[T any](list, spare []T, half int, compare func(a, b T) int) {
	if compare(list[half-1], list[half]) <= 0 {
		return
	}
	copy(spare, list[:half])
	left, right := spare[:half], list[half:]
	for i := range list {
		if len(left) == 0 {
			return
		}
		if len(right) > 0 && compare(right[0], left[0]) < 0 {
			list[i], right = right[0], right[1:]
		} else {
			list[i], left = left[0], left[1:]
		}
	}
}
