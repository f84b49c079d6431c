package fields

import (
	"strconv"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Reader is what a translation knows of the object it reads, and what it has to say about it.
type Reader struct {
	report.Log
	Mesh      *model.Mesh
	Namespace string
}

// Read begins to read an object; what could not be parsed of it is said already.
func Read(o inputs.Object, mesh *model.Mesh) Reader {
	r := Reader{Mesh: mesh, Namespace: o.GetNamespace()}
	for _, p := range o.Issues() {
		r.Errorf(p.Path, "%s", p.Reason)
	}
	return r
}

// From is an object's name.
func From(o inputs.Object) model.Name {
	return model.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// At is a place on a list: "spec.http[0]".
func At(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
