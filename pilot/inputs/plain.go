package inputs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// decodePlain reads the spec of one of Kubernetes' own kinds. It is as strict as decodeAs.
func decodePlain[S any](raw rawObject) Object {
	out := &Config[S]{TypeMeta: raw.TypeMeta, ObjectMeta: raw.ObjectMeta, Spec: new(S)}
	if len(raw.Spec) == 0 || string(raw.Spec) == "null" {
		return out
	}
	out.Problems = strangers(raw.Spec, reflect.TypeFor[S](), "spec")
	if err := json.Unmarshal(raw.Spec, out.Spec); err != nil {
		path := "spec"
		reason := err.Error()
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			path, reason = strings.TrimSuffix(path+"."+wrong.Field, "."), fmt.Sprintf("%s is no %s", wrong.Value, wrong.Type)
		}
		out.Problems = append(out.Problems, Problem{Path: path, Reason: reason})
	}
	return out
}

// strangers are the fields in JSON that a Go type has not. What is of another shape than the type's is for the reading of the whole to tell.
func strangers(data json.RawMessage, t reflect.Type, path string) []Problem {
	switch t.Kind() {
	case reflect.Pointer:
		return strangers(data, t.Elem(), path)
	case reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(data, &items) != nil {
			return nil
		}
		var out []Problem
		for i, item := range items {
			out = append(out, strangers(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
		}
		return out
	case reflect.Struct:
	default:
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		return nil
	}
	known := map[string]reflect.Type{}
	jsonFields(t, known)
	var out []Problem
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field, ok := known[name]
		if !ok {
			out = append(out, Problem{Path: path + "." + name, Reason: "unknown field"})
			continue
		}
		out = append(out, strangers(object[name], field, path+"."+name)...)
	}
	return out
}

// jsonFields collects the fields of a struct by their names in JSON, inlined ones included.
func jsonFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case strings.Contains(options, "inline") || f.Anonymous && name == "":
			jsonFields(f.Type, into)
		case name != "" && name != "-":
			into[name] = f.Type
		}
	}
}
