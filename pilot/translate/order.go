package translate

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// order keeps a list sorted from one call to the next.
type order[T comparable] struct{ given, sorted []T }

// of sorts a list, which has nothing twice. What was there the last time keeps its place and the rest, added, is put in between, so that one change
// costs a look at each, and few comparisons. same: nothing is another than the last time. What it returns is not to be changed.
func (s *order[T]) of(list []T, compare func(a, b T) int) (sorted, added []T, same bool) {
	if s.given != nil && slices.Equal(s.given, list) {
		return s.sorted, nil, true
	}
	kept, added := s.divide(list)
	sortStable(added, compare)
	s.given, s.sorted = append(make([]T, 0, len(list)), list...), make([]T, 0, len(list))
	for _, o := range added {
		i, _ := slices.BinarySearchFunc(kept, o, compare)
		s.sorted = append(append(s.sorted, kept[:i]...), o)
		kept = kept[i:]
	}
	s.sorted = append(s.sorted, kept...)
	return s.sorted, added, false
}

// divide tells what of a list was there the last time, in order, from what was not.
func (s *order[T]) divide(list []T) (kept, added []T) {
	if len(s.sorted) == 0 {
		return nil, slices.Clone(list)
	}
	gone, added, few := s.replaced(list)
	if few {
		return slices.DeleteFunc(slices.Clone(s.sorted), func(o T) bool { return gone[o] }), added
	}
	fresh := make(map[T]bool, len(list))
	for _, o := range list {
		fresh[o] = true
	}
	for _, o := range s.sorted {
		if fresh[o] {
			kept = append(kept, o)
			delete(fresh, o)
		}
	}
	return kept, slices.DeleteFunc(slices.Clone(list), func(o T) bool { return !fresh[o] })
}

// fewReplaced is how many places of a list may have others in them for it to be compared place by place.
const fewReplaced = 64

// replaced compares a list with that of the last time, place by place: what is gone, and what is added. few: that was so little that it was found out.
func (s *order[T]) replaced(list []T) (gone map[T]bool, added []T, few bool) {
	gone = map[T]bool{}
	is := map[T]bool{}
	for i := range max(len(list), len(s.given)) {
		if i < len(list) && i < len(s.given) && list[i] == s.given[i] {
			continue
		}
		if len(is) > fewReplaced || len(gone) > fewReplaced {
			return nil, nil, false
		}
		if i < len(s.given) {
			gone[s.given[i]] = true
		}
		if i < len(list) {
			is[list[i]] = true
			added = append(added, list[i])
		}
	}
	added = slices.DeleteFunc(added, func(o T) bool { return gone[o] }) // at another place now
	for o := range is {
		delete(gone, o)
	}
	return gone, added, true
}

// byAge orders objects by creation time in seconds, then name, then namespace, as Istio does.
func byAge[O metav1.Object](a, b O) int {
	at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(cmp.Compare(at.Unix(), bt.Unix()), cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}

// differing calls see for what differs between two lists: for all but what they begin and end with alike.
func differing[T comparable](a, b []T, see func(T)) {
	n := min(len(a), len(b))
	begin := 0
	for begin < n && a[begin] == b[begin] {
		begin++
	}
	end := 0
	for end < n-begin && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	for _, list := range [][]T{a, b} {
		for _, o := range list[begin : len(list)-end] {
			see(o)
		}
	}
}
