package generate

import "github.com/heddle-mesh/heddle/internal/memo"

// List is an immutable list that was interned: equal lists have equal pointers, so that a list can be part of a memo key. Nil
// is the empty list.
type List[T comparable] struct {
	head T
	rest *List[T]
}

// all walks the list.
func (l *List[T]) all(yield func(T) bool) {
	for ; l != nil; l = l.rest {
		if !yield(l.head) {
			return
		}
	}
}

// slice copies the list.
func (l *List[T]) slice() []T {
	var out []T
	for item := range l.all {
		out = append(out, item)
	}
	return out
}

// lists interns lists of one kind.
type lists[T comparable] struct{ cells *memo.Memo[List[T], *List[T]] }

func newLists[T comparable]() lists[T] { return lists[T]{memo.New[List[T], *List[T]]()} }

// of returns the list of items.
func (l lists[T]) of(items []T) *List[T] {
	var out *List[T]
	for i := len(items) - 1; i >= 0; i-- {
		out = l.cells.Get(List[T]{items[i], out}, func(cell List[T]) *List[T] { return &cell })
	}
	return out
}
