package inputs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// unknownFields compares JSON with the schema of a message: fields that it does not know, two fields of one choice, and null where a list
// has an object.
func unknownFields(data json.RawMessage, md protoreflect.MessageDescriptor, path string) []Problem {
	if md.FullName().Parent() == "google.protobuf" { // durations, wrappers, free-form structs
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil || object == nil {
		return nil // reading the whole tells of it
	}
	var out []Problem
	chosen := map[protoreflect.FullName]string{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		at := path + "." + name
		fd := md.Fields().ByJSONName(name)
		if fd == nil {
			fd = md.Fields().ByTextName(name)
		}
		if fd == nil {
			out = append(out, Problem{Path: at, Reason: "unknown field"})
			continue
		}
		if one := fd.ContainingOneof(); one != nil && string(object[name]) != "null" {
			if other, twice := chosen[one.FullName()]; twice {
				out = append(out, Problem{Path: at, Reason: fmt.Sprintf("only one of %s and %s may be set", other, name)})
			}
			chosen[one.FullName()] = name
		}
		out = append(out, unknownInField(object[name], fd, at)...)
	}
	return out
}

func unknownInField(data json.RawMessage, fd protoreflect.FieldDescriptor, at string) []Problem {
	var out []Problem
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return nil
		}
		var entries map[string]json.RawMessage
		if json.Unmarshal(data, &entries) != nil {
			return nil
		}
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			out = append(out, unknownFields(entries[key], fd.MapValue().Message(), fmt.Sprintf("%s[%s]", at, key))...)
		}
	case fd.Message() == nil:
	case fd.IsList():
		var items []json.RawMessage
		if json.Unmarshal(data, &items) != nil {
			return nil
		}
		for i, item := range items {
			at := fmt.Sprintf("%s[%d]", at, i)
			if string(item) == "null" { // which is read as an empty object: one that may stand for everything
				out = append(out, Problem{Path: at, Reason: "null: an object expected"})
			}
			out = append(out, unknownFields(item, fd.Message(), at)...)
		}
	default:
		out = unknownFields(data, fd.Message(), at)
	}
	return out
}
