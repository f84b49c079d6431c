// Package fields makes sure that no field of an object is silently ignored: each kind lists the fields that its translation
// honours, and whatever else is set becomes an error with its path. Reader is where reading an object begins. It is pure and
// does not look at values.
package fields

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// Set is the fields of a message that are honoured, as dotted JSON names without indices and keys. It is immutable.
type Set struct {
	leaf   map[string]bool
	inside map[string]bool // proper prefixes of leaves
	tree   *node
	shapes *shapes
}

// node is a field of a Set, or the message itself.
type node struct {
	whole bool             // all of it is honoured
	below map[string]*node // by JSON name
}

// grow adds a path below a node.
func (n *node) grow(path string) {
	name, rest, more := strings.Cut(path, ".")
	next := n.below[name]
	if next == nil {
		next = &node{below: map[string]*node{}}
		n.below[name] = next
	}
	if !more {
		next.whole = true
		return
	}
	next.grow(rest)
}

// New makes a Set. Braces expand: "http.{name,timeout}" is two paths.
func New(paths ...string) Set {
	s := Set{leaf: map[string]bool{}, inside: map[string]bool{}, tree: &node{below: map[string]*node{}}, shapes: &shapes{}}
	for _, p := range paths {
		for _, q := range expand(p) {
			s.leaf[q] = true
			s.tree.grow(q)
			for i, c := range q {
				if c == '.' {
					s.inside[q[:i]] = true
				}
			}
		}
	}
	return s
}

// expand multiplies out the first pair of braces, then the rest.
func expand(p string) []string {
	before, rest, ok := strings.Cut(p, "{")
	if !ok {
		return []string{p}
	}
	depth, end := 1, 0
	parts, start := []string(nil), 0
	for i := 0; i < len(rest) && depth > 0; i++ {
		switch rest[i] {
		case '{':
			depth++
		case '}':
			depth--
			end = i
		case ',':
			if depth == 1 {
				parts = append(parts, rest[start:i])
				start = i + 1
			}
		}
	}
	parts = append(parts, rest[start:end])
	var out []string
	for _, part := range parts {
		for _, q := range expand(part) {
			for _, tail := range expand(rest[end+1:]) {
				out = append(out, before+q+tail)
			}
		}
	}
	return out
}

// Check records an error for each field that m has and s has not. root begins every path: "spec".
func (s Set) Check(m proto.Message, root string, log *report.Log) {
	if s.tree == nil || !s.shapes.covers(s.tree, m) {
		s.check(m.ProtoReflect(), "", root, log)
	}
}

func (s Set) check(m protoreflect.Message, path, at string, log *report.Log) {
	var set []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = append(set, fd)
		return true
	})
	slices.SortFunc(set, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	for _, fd := range set {
		name := fd.JSONName()
		p, here := join(path, name), at+"."+name
		switch {
		case s.leaf[p]:
		case s.inside[p]:
			s.checkInside(m.Get(fd), fd, p, here, log)
		default:
			log.Errorf(here, "not implemented by this version")
		}
	}
}

func (s Set) checkInside(v protoreflect.Value, fd protoreflect.FieldDescriptor, p, here string, log *report.Log) {
	switch {
	case fd.IsMap():
		var keys []protoreflect.MapKey
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k)
			return true
		})
		slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			s.check(v.Map().Get(k).Message(), p, fmt.Sprintf("%s[%s]", here, k), log)
		}
	case fd.IsList():
		for i := range v.List().Len() {
			s.check(v.List().Get(i).Message(), p, fmt.Sprintf("%s[%d]", here, i), log)
		}
	default:
		s.check(v.Message(), p, here, log)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Compare holds s and the fields that are refused on purpose against a message's schema. It returns the leaves that neither
// names, and the names that the schema has not: both must be empty, so that a field that a new API brings is noticed.
func (s Set) Compare(refused Set, md protoreflect.MessageDescriptor) (unlisted, unknown []string) {
	known := map[string]bool{}
	leaves(md, "", func(path string, leaf bool) bool {
		known[path] = true
		switch {
		case s.leaf[path] || refused.leaf[path]:
			return false
		case leaf:
			unlisted = append(unlisted, path)
		}
		return true
	})
	for _, set := range []Set{s, refused} {
		for path := range set.leaf {
			if !known[path] {
				unknown = append(unknown, path)
			}
		}
	}
	slices.Sort(unknown)
	return unlisted, unknown
}

// leaves visits every field, outer first; it does not go below a field for which visit returns false.
func leaves(md protoreflect.MessageDescriptor, path string, visit func(path string, leaf bool) bool) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		p := join(path, fd.JSONName())
		below := fd.Message()
		if fd.IsMap() {
			below = fd.MapValue().Message()
		}
		if below != nil && below.FullName().Parent() == "google.protobuf" {
			below = nil
		}
		if visit(p, below == nil) && below != nil {
			leaves(below, p, visit)
		}
	}
}
