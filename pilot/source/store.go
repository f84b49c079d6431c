package source

import (
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

// lanes says who is concerned by a change.
type lanes uint8

const (
	laneSnapshot lanes = 1 << iota
	laneEndpoints
)

// store holds the present objects of one kind, as the cache gave them. The Source's lock guards it.
type store[T metav1.Object] struct {
	at   map[toolscache.ObjectName]int // in list
	list []T
	lent bool // somebody holds the list
}

func newStore[T metav1.Object]() *store[T] {
	return &store[T]{at: map[toolscache.ObjectName]int{}, list: []T{}}
}

// all lists the objects. The list is never changed after. From one to the next, objects that did not change keep their places, but for one that moves to
// where another was dropped.
func (s *store[T]) all() []T {
	s.lent = true
	return s.list
}

// own makes the list one that may be changed.
func (s *store[T]) own() {
	if s.lent {
		s.list, s.lent = slices.Clone(s.list), false
	}
}

// set puts an object in, and reports whether it says anything new. One that does not keeps its older self in place, by which
// translations are remembered.
func (s *store[T]) set(o T) bool {
	name := toolscache.MetaObjectToName(o)
	i, known := s.at[name]
	if known && sameMeaning(s.list[i], o) {
		return false
	}
	if s.own(); known {
		s.list[i] = o
		return true
	}
	s.at[name] = len(s.list)
	s.list = append(s.list, o)
	return true
}

func (s *store[T]) drop(name toolscache.ObjectName) bool {
	i, known := s.at[name]
	if !known {
		return false
	}
	s.own()
	last := len(s.list) - 1
	s.list[i] = s.list[last]
	s.at[toolscache.MetaObjectToName(s.list[i])] = i
	delete(s.at, name)
	clear(s.list[last:])
	s.list = s.list[:last]
	return true
}

// sameMeaning reports whether two versions of an object differ in bookkeeping only. With a generation, specs are as equal as it is.
func sameMeaning(a, b metav1.Object) bool {
	if a.GetUID() != b.GetUID() || a.GetGeneration() != b.GetGeneration() || (a.GetDeletionTimestamp() == nil) != (b.GetDeletionTimestamp() == nil) {
		return false
	}
	if !reflect.DeepEqual(a.GetLabels(), b.GetLabels()) || !reflect.DeepEqual(a.GetAnnotations(), b.GetAnnotations()) {
		return false
	}
	return sameContent(a, b)
}
