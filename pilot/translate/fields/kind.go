package fields

import (
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Kind says what becomes of every field of a kind of objects. It is immutable.
type Kind struct {
	Name     string
	Message  proto.Message // of the spec
	Struct   reflect.Type  // of the spec, for kinds without a Message: Kubernetes' own
	Honoured Set
	Refused  []Note // fields that are refused on purpose
	Differs  []Note // fields that are honoured, but not in each value or not just as Istio does
	// Large kinds have many fields of which few are honoured: what is not named is refused.
	Large bool
}

// Note is what there is to say about fields. Braces in the path expand, as in New.
type Note struct{ Path, Why string }

// Verdict says how far a field is honoured.
type Verdict string

// The verdicts.
const (
	Yes     Verdict = "yes"
	No      Verdict = "no"
	Differs Verdict = "differs"
)

// Row is one field, or a block of them that is refused as a whole or that is like another.
type Row struct {
	Path    string
	Verdict Verdict
	Why     string
}

// Compare holds the kind against its API. It returns the fields of which nothing is said, and the names that the API has not: both must be
// empty, so that a field that a new API brings is noticed.
func (k Kind) Compare() (unlisted, unknown []string) {
	if k.Struct != nil {
		return k.comparePlain()
	}
	refused := New()
	for _, n := range k.Refused {
		refused = refused.with(n.Path)
	}
	unlisted, unknown = k.Honoured.Compare(refused, k.Message.ProtoReflect().Descriptor())
	if k.Large {
		unlisted = nil
	}
	differs := New()
	for _, n := range k.Differs {
		differs = differs.with(n.Path)
	}
	for path := range differs.leaf {
		if !k.Honoured.leaf[path] && !k.Honoured.inside[path] {
			unknown = append(unknown, path+" (differs)")
		}
	}
	slices.Sort(unknown)
	return unlisted, unknown
}

// with is the set and one path more.
func (s Set) with(path string) Set {
	all := []string{path}
	for p := range s.leaf {
		all = append(all, p)
	}
	return New(all...)
}

// Rows are the kind's fields in the order of its API.
func (k Kind) Rows() []Row {
	if k.Struct != nil {
		return k.plainRows()
	}
	t := table{kind: k, no: notes(k.Refused), differs: notes(k.Differs), seen: map[protoreflect.FullName][]block{}}
	return t.message(k.Message.ProtoReflect().Descriptor(), "", t.shown)
}

func notes(list []Note) map[string]string {
	all := map[string]string{}
	for _, n := range list {
		for _, path := range expand(n.Path) {
			all[path] = n.Why
		}
	}
	return all
}

// table makes a kind's rows.
type table struct {
	kind        Kind
	no, differs map[string]string
	seen        map[protoreflect.FullName][]block
}

// block is all rows of a message at a path.
type block struct {
	path string
	rows []Row
}

// below makes the rows of a message field.
type below func(md protoreflect.MessageDescriptor, path string) []Row

func (t *table) message(md protoreflect.MessageDescriptor, path string, inner below) []Row {
	var rows []Row
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		rows = append(rows, t.field(fd, join(path, fd.JSONName()), inner)...)
	}
	return rows
}

func (t *table) field(fd protoreflect.FieldDescriptor, path string, inner below) []Row {
	if why, ok := t.no[path]; ok {
		return []Row{{path, No, why}}
	}
	h := t.kind.Honoured
	if !h.leaf[path] && !h.inside[path] {
		return []Row{{path, No, "not implemented by this version"}}
	}
	why, differs := t.differs[path]
	md := messageOf(fd)
	switch {
	case (h.leaf[path] || md == nil) && differs:
		return []Row{{path, Differs, why}}
	case h.leaf[path] || md == nil:
		return []Row{{path, Yes, ""}}
	case differs:
		return append([]Row{{path, Differs, why}}, inner(md, path)...)
	}
	return inner(md, path)
}

func messageOf(fd protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if fd.IsMap() {
		return fd.MapValue().Message()
	}
	return fd.Message()
}

// shown is one row for a message that says the same as an earlier one of its type, and all its rows else.
func (t *table) shown(md protoreflect.MessageDescriptor, path string) []Row {
	all := block{path, t.all(md, path)}
	for _, b := range t.seen[md.FullName()] {
		if len(b.rows) > 1 && alike(b, all) {
			return []Row{{path, Yes, "as `" + b.path + "`"}}
		}
	}
	t.seen[md.FullName()] = append(t.seen[md.FullName()], all)
	return t.message(md, path, t.shown)
}

func (t *table) all(md protoreflect.MessageDescriptor, path string) []Row {
	return t.message(md, path, t.all)
}

// alike says whether two blocks have the same fields with the same verdicts.
func alike(a, b block) bool {
	return slices.EqualFunc(a.rows, b.rows, func(x, y Row) bool {
		return x.Path[len(a.path):] == y.Path[len(b.path):] && x.Verdict == y.Verdict && x.Why == y.Why
	})
}
