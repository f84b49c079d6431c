// Package intern makes lists comparable: equal lists have equal pointers, so that a list can be part of a memo key. It knows nothing of what
// the lists hold.
package intern

import "github.com/heddle-mesh/heddle/internal/memo"

// List is an immutable list that was interned. Nil is the empty list.
type List[T comparable] struct {
	head T
	rest *List[T]
}

// All walks the list.
func (l *List[T]) All(yield func(T) bool) {
	for ; l != nil; l = l.rest {
		if !yield(l.head) {
			return
		}
	}
}

// Slice copies the list.
func (l *List[T]) Slice() []T {
	var out []T
	for item := range l.All {
		out = append(out, item)
	}
	return out
}

// Lists interns lists of one kind. It is used by one goroutine at a time.
type Lists[T comparable] struct{ cells *memo.Memo[List[T], *List[T]] }

// New returns Lists that remember nothing.
func New[T comparable]() Lists[T] { return Lists[T]{memo.New[List[T], *List[T]]()} }

// Of returns the list of items.
func (l Lists[T]) Of(items []T) *List[T] {
	var out *List[T]
	for i := len(items) - 1; i >= 0; i-- {
		out = l.cells.Get(List[T]{items[i], out}, func(cell List[T]) *List[T] { return &cell })
	}
	return out
}

// Round forgets lists that were not asked for since the last Round.
func (l Lists[T]) Round() (hits, misses int) { return l.cells.Round() }
