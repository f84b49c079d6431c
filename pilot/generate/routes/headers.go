package routes

import (
	"cmp"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// then returns the operations of a followed by those of b. The host is that of a where it has one.
func then(a, b model.Headers) model.Headers {
	return model.Headers{
		RequestSet: join(a.RequestSet, b.RequestSet), RequestAdd: join(a.RequestAdd, b.RequestAdd),
		RequestRemove: join(a.RequestRemove, b.RequestRemove),
		ResponseSet:   join(a.ResponseSet, b.ResponseSet), ResponseAdd: join(a.ResponseAdd, b.ResponseAdd),
		ResponseRemove: join(a.ResponseRemove, b.ResponseRemove), Host: cmp.Or(a.Host, b.Host),
	}
}

// join concatenates without writing into either.
func join[T any](a, b []T) []T { return append(a[:len(a):len(a)], b...) }
