package source

import (
	"reflect"

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
	objects map[toolscache.ObjectName]T
	list    []T // nil: to be made again
}

func newStore[T metav1.Object]() *store[T] { return &store[T]{objects: map[toolscache.ObjectName]T{}} }

// all lists the objects. The list is never changed after.
func (s *store[T]) all() []T {
	if s.list == nil {
		s.list = make([]T, 0, len(s.objects))
		for _, o := range s.objects {
			s.list = append(s.list, o)
		}
	}
	return s.list
}

// set puts an object in, and reports whether it says anything new. One that does not keeps its older self in place, by which
// translations are remembered.
func (s *store[T]) set(o T) bool {
	name := toolscache.MetaObjectToName(o)
	if old, ok := s.objects[name]; ok && sameMeaning(old, o) {
		return false
	}
	s.objects[name], s.list = o, nil
	return true
}

func (s *store[T]) drop(name toolscache.ObjectName) bool {
	if _, ok := s.objects[name]; !ok {
		return false
	}
	delete(s.objects, name)
	s.list = nil
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
