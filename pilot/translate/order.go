package translate

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// order keeps a list sorted from one call to the next.
type order[T comparable] struct{ given, sorted []T }

// of sorts a list, which has nothing twice. What was there the last time keeps its place and the rest is put in between, so that one change costs a
// look at each, and few comparisons. same: nothing is another than the last time. What it returns is not to be changed.
func (s *order[T]) of(list []T, compare func(a, b T) int) (sorted []T, same bool) {
	if s.given != nil && slices.Equal(s.given, list) {
		return s.sorted, true
	}
	fresh := make(map[T]struct{}, len(list))
	for _, o := range list {
		fresh[o] = struct{}{}
	}
	kept := make([]T, 0, len(list))
	for _, o := range s.sorted {
		if _, still := fresh[o]; still {
			kept = append(kept, o)
			delete(fresh, o)
		}
	}
	added := make([]T, 0, len(fresh))
	for _, o := range list {
		if _, is := fresh[o]; is {
			added = append(added, o)
		}
	}
	slices.SortStableFunc(added, compare)
	s.given, s.sorted = slices.Clone(list), make([]T, 0, len(list))
	for _, o := range added {
		i, _ := slices.BinarySearchFunc(kept, o, compare)
		s.sorted = append(append(s.sorted, kept[:i]...), o)
		kept = kept[i:]
	}
	s.sorted = append(s.sorted, kept...)
	return s.sorted, false
}

// byAge orders objects by creation time in seconds, then name, then namespace, as Istio does.
func byAge[O metav1.Object](a, b O) int {
	at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(cmp.Compare(at.Unix(), bt.Unix()), cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}
