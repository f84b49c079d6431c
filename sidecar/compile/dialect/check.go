// Package dialect holds what this proxy honours of xDS messages, field by field, and refuses the rest by name. It reads values
// only where a foreign control plane's may be left out.
package dialect

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Checker walks messages and refuses fields that are not honoured.
type Checker map[protoreflect.FullName]map[protoreflect.Name]bool

// New reads the list.
func New() Checker { return read(list) }

func read(list string) Checker {
	c := Checker{}
	var fields map[protoreflect.Name]bool
	for _, word := range strings.Fields(list) {
		if message, ok := strings.CutSuffix(word, ":"); ok {
			fields = map[protoreflect.Name]bool{}
			c[protoreflect.FullName(message)] = fields
			continue
		}
		fields[protoreflect.Name(word)] = true
	}
	return c
}

// refusal is what is not honoured, and where. The path is written only when there is one, from its end: most messages are honoured.
type refusal struct {
	path, problem string
}

func refuse(format string, args ...any) *refusal {
	return &refusal{problem: fmt.Sprintf(format, args...)}
}

// in says that the refusal is below a step of the path: ".field", "[index]" or "[key]".
func (r *refusal) in(step string) *refusal {
	r.path = step + r.path
	return r
}

func (r *refusal) Error() string {
	path := strings.TrimPrefix(r.path, ".")
	if path == "" {
		path = "resource"
	}
	return path + ": " + r.problem
}

// Check returns an error that begins with the path of the first field, in order of declaration, that is set and not honoured.
func (c Checker) Check(m proto.Message) error {
	if r := (walk{Checker: c}).message(m.ProtoReflect()); r != nil {
		return r
	}
	return nil
}

// walk is one check.
type walk struct {
	Checker
	ignored *int // fields that are not honoured, and need not be; nil: every one has to be
}

func (c walk) message(m protoreflect.Message) *refusal {
	name := m.Descriptor().FullName()
	if name == "google.protobuf.Any" {
		return c.any(m.Interface().(*anypb.Any))
	}
	if strings.HasPrefix(string(name), "google.protobuf.") {
		return nil
	}
	if c.ignored != nil && fromAgent(m) {
		return nil
	}
	fields, known := c.Checker[name]
	if !known {
		return refuse("%s is not implemented", name)
	}
	if c.ignored != nil {
		c.soften(m)
	}
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		field := all.Get(i)
		if !m.Has(field) {
			continue
		}
		if c.spare(m, field); !m.Has(field) {
			continue
		}
		if !fields[field.Name()] && c.ignored != nil && Harmless()[name][field.Name()] {
			*c.ignored++
			continue
		}
		if !fields[field.Name()] {
			return refuse("not implemented").in("." + string(field.Name()))
		}
		if field.Message() == nil {
			continue
		}
		if r := c.field(field, m.Get(field)); r != nil {
			return r.in("." + string(field.Name()))
		}
	}
	if len(m.GetUnknown()) > 0 {
		return refuse("it has fields of a newer version")
	}
	return nil
}

// field checks the messages in a field that has some.
func (c walk) field(field protoreflect.FieldDescriptor, v protoreflect.Value) *refusal {
	switch {
	case field.IsMap():
		return c.entries(field, v.Map())
	case field.IsList():
		for i := range v.List().Len() {
			if r := c.message(v.List().Get(i).Message()); r != nil {
				return r.in(fmt.Sprintf("[%d]", i))
			}
		}
		return nil
	}
	return c.message(v.Message())
}

func (c walk) entries(field protoreflect.FieldDescriptor, m protoreflect.Map) *refusal {
	if field.MapValue().Message() == nil {
		return nil
	}
	var keys []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		if r := c.message(m.Get(k).Message()); r != nil {
			return r.in(fmt.Sprintf("[%s]", k))
		}
	}
	return nil
}

func (c walk) any(a *anypb.Any) *refusal {
	name := a.MessageName()
	if _, known := c.Checker[name]; !known {
		return refuse("%s is not implemented", name)
	}
	m, err := a.UnmarshalNew()
	if err != nil {
		return refuse("%v", err)
	}
	before := c.count()
	if r := c.message(m.ProtoReflect()); r != nil {
		return r
	}
	if c.count() == before {
		return nil
	}
	if a.Value, err = (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil { // equal chains stay equal
		return refuse("%v", err)
	}
	return nil
}

// count is how much was not honoured so far.
func (c walk) count() int {
	if c.ignored == nil {
		return 0
	}
	return *c.ignored
}
