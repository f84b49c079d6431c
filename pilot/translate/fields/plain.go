package fields

import (
	"reflect"
	"slices"
	"strings"
)

// plain walks the fields of a kind that is no message but a Go struct, by its names in JSON.
type plain struct {
	kind        Kind
	no, differs map[string]string
	visit       func(path string, leaf bool)
}

// comparePlain is Compare for such a kind.
func (k Kind) comparePlain() (unlisted, unknown []string) {
	named := notes(slices.Concat(k.Refused, k.Differs))
	for path := range k.Honoured.leaf {
		named[path] = ""
	}
	refused := notes(k.Refused)
	plain{no: refused, visit: func(path string, leaf bool) {
		if _, no := refused[path]; leaf && !no && !k.Honoured.leaf[path] {
			unlisted = append(unlisted, path)
		}
		delete(named, path)
	}}.rows(k.Struct, "")
	for path := range named {
		unknown = append(unknown, path)
	}
	slices.Sort(unknown)
	return unlisted, unknown
}

func (k Kind) plainRows() []Row {
	return plain{kind: k, no: notes(k.Refused), differs: notes(k.Differs), visit: func(string, bool) {}}.rows(k.Struct, "")
}

func (t plain) rows(spec reflect.Type, path string) []Row {
	for spec.Kind() == reflect.Pointer || spec.Kind() == reflect.Slice {
		spec = spec.Elem()
	}
	if spec.Kind() != reflect.Struct {
		return nil
	}
	var out []Row
	for i := range spec.NumField() {
		f := spec.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if strings.Contains(options, "inline") || f.Anonymous && name == "" {
			out = append(out, t.rows(f.Type, path)...)
			continue
		}
		out = append(out, t.field(f.Type, join(path, name))...)
	}
	return out
}

func (t plain) field(of reflect.Type, path string) []Row {
	if why, ok := t.no[path]; ok {
		t.visit(path, true)
		return []Row{{path, No, why}}
	}
	inner := t.rows(of, path)
	t.visit(path, len(inner) == 0)
	why, differs := t.differs[path]
	switch {
	case len(inner) == 0 && !t.kind.Honoured.leaf[path]:
		return []Row{{path, No, "not implemented by this version"}}
	case differs:
		return append([]Row{{path, Differs, why}}, inner...)
	case len(inner) == 0:
		return []Row{{path, Yes, ""}}
	}
	return inner
}
