package inputs

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// most is how many values of a list or an object are named: whoever mends these sees the next.
const most = 10

// locate says which values keep a spec from being read. read reads a spec; whole is its error for data.
func locate(data json.RawMessage, whole error, read func(json.RawMessage) error) []Problem {
	found := search(data, "spec", read)
	if len(found) == 0 { // no part is to blame alone
		return []Problem{{Path: "spec", Reason: plain(whole)}}
	}
	return found
}

// search returns the innermost values that cannot be read. read reads a whole that holds nothing but the part given to it.
func search(data json.RawMessage, path string, read func(json.RawMessage) error) []Problem {
	err := read(data)
	if err == nil {
		return nil
	}
	out := within(data, path, read)
	if len(out) == 0 {
		return []Problem{{Path: path, Reason: plain(err)}}
	}
	return out
}

// within searches the fields of an object or the items of a list; where none of either kind is wanted, it finds nothing.
func within(data json.RawMessage, path string, read func(json.RawMessage) error) (out []Problem) {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case json.Unmarshal(data, &object) == nil && read(json.RawMessage("{}")) == nil:
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if len(out) >= most {
				break
			}
			out = append(out, search(object[name], path+"."+name, func(part json.RawMessage) error {
				return read(wrap(map[string]json.RawMessage{name: part}))
			})...)
		}
	case json.Unmarshal(data, &list) == nil && read(json.RawMessage("[]")) == nil:
		for i, item := range list {
			if len(out) >= most {
				break
			}
			out = append(out, search(item, fmt.Sprintf("%s[%d]", path, i), func(part json.RawMessage) error {
				return read(wrap([]json.RawMessage{part}))
			})...)
		}
	}
	return out
}

func wrap(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil { // parts of what was read are JSON
		return nil
	}
	return text
}

// How the API's reader refuses a name that an enumeration does not have, and a value of another type.
var (
	unknownEnum = regexp.MustCompile(`^unknown value "\\"(.*)\\"" for enum (\S+)$`)
	wrongType   = regexp.MustCompile(`^json: cannot unmarshal (\w+) (?:\S+ )?into Go value of type (\S+)$`)
)

// plain says an error of the API's reader in words of its users.
func plain(err error) string {
	text := err.Error()
	if m := unknownEnum.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%q is none of %s", m[1], values(protoreflect.FullName(m[2])))
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("want %s, not %s", noun(m[2]), noun(m[1]))
	}
	return strings.TrimPrefix(text, "json: ")
}

// values lists the names of an enumeration.
func values(enum protoreflect.FullName) string {
	known, err := protoregistry.GlobalTypes.FindEnumByName(enum)
	if err != nil {
		return "the values of " + string(enum)
	}
	var names []string
	for i, all := 0, known.Descriptor().Values(); i < all.Len(); i++ {
		names = append(names, string(all.Get(i).Name()))
	}
	return strings.Join(names, ", ")
}

// noun names a type of JSON, or the type of Go that stands for one.
func noun(of string) string {
	switch {
	case of == "array" || strings.HasPrefix(of, "[]"):
		return "a list"
	case of == "object" || strings.HasPrefix(of, "map["):
		return "an object"
	case of == "bool":
		return "true or false"
	case of == "string":
		return "text"
	}
	return "a number"
}
