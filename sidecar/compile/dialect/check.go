// Package dialect holds what this proxy honours of xDS messages, field by field, and refuses the rest by name. It reads no value.
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
func New() Checker {
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

// Check returns an error that begins with the path of the first field, in order of declaration, that is set and not honoured.
func (c Checker) Check(m proto.Message) error { return c.message("", m.ProtoReflect()) }

func (c Checker) message(path string, m protoreflect.Message) error {
	name := m.Descriptor().FullName()
	if name == "google.protobuf.Any" {
		return c.any(path, m.Interface().(*anypb.Any))
	}
	if strings.HasPrefix(string(name), "google.protobuf.") {
		return nil
	}
	fields, known := c[name]
	if !known {
		return fmt.Errorf("%s: %s is not implemented", at(path), name)
	}
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		field := all.Get(i)
		if !m.Has(field) {
			continue
		}
		below := join(path, string(field.Name()))
		if !fields[field.Name()] {
			return fmt.Errorf("%s: not implemented", below)
		}
		if err := c.field(below, field, m.Get(field)); err != nil {
			return err
		}
	}
	if len(m.GetUnknown()) > 0 {
		return fmt.Errorf("%s: it has fields of a newer version", at(path))
	}
	return nil
}

func (c Checker) field(path string, field protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case field.IsMap():
		if field.MapValue().Message() == nil {
			return nil
		}
		var keys []protoreflect.MapKey
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k)
			return true
		})
		slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			if err := c.message(fmt.Sprintf("%s[%s]", path, k), v.Map().Get(k).Message()); err != nil {
				return err
			}
		}
		return nil
	case field.Message() == nil:
		return nil
	case field.IsList():
		for i := range v.List().Len() {
			if err := c.message(fmt.Sprintf("%s[%d]", path, i), v.List().Get(i).Message()); err != nil {
				return err
			}
		}
		return nil
	}
	return c.message(path, v.Message())
}

func (c Checker) any(path string, a *anypb.Any) error {
	name := a.MessageName()
	if _, known := c[name]; !known {
		return fmt.Errorf("%s: %s is not implemented", at(path), name)
	}
	m, err := a.UnmarshalNew()
	if err != nil {
		return fmt.Errorf("%s: %w", at(path), err)
	}
	return c.message(path, m.ProtoReflect())
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// at names the root where there is no path.
func at(path string) string {
	if path == "" {
		return "resource"
	}
	return path
}
