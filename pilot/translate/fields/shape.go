package fields

import (
	"reflect"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shapes are those of a Set, by the generated type that it is laid over.
type shapes struct{ byType sync.Map }

// covers reports whether all that a message has is honoured. It is check without a word, as nearly all objects need none; and it looks at the fields
// of the generated struct, since a reflection of the message would make a value for each.
func (s *shapes) covers(tree *node, m proto.Message) bool {
	v := reflect.ValueOf(m)
	if v.IsNil() {
		return true
	}
	known, ok := s.byType.Load(v.Type())
	if !ok {
		known, _ = s.byType.LoadOrStore(v.Type(), lay(tree, v.Type().Elem(), m.ProtoReflect().Descriptor()))
	}
	return known.(*shape).covers(v.Elem())
}

// shape is the fields of a struct that are not honoured whole.
type shape struct{ parts []part }

// part is such a field.
type part struct {
	index  int // in the struct
	is     holds
	inner  *shape                 // of one message, or each
	chosen map[reflect.Type]*part // of a oneof, by wrapper
}

// holds is what a part has, and so what must be so for it to be covered.
type holds uint8

const (
	refused holds = iota // nothing
	unset                // nothing, not even what counts as nothing elsewhere
	one                  // a message, or none
	list
	entries
	choice
	whole // anything: only in a oneof
)

// lay lays a node over the struct of a message.
func lay(n *node, t reflect.Type, md protoreflect.MessageDescriptor) *shape {
	out := &shape{}
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("protobuf_oneof"); name != "" {
			out.parts = append(out.parts, part{index: i, is: choice, chosen: members(n, t, i, md.Oneofs().ByName(protoreflect.Name(name)))})
			continue
		}
		if fd := md.Fields().ByNumber(numberOf(f)); fd != nil {
			if p := partOf(n, f.Type, fd); p.is != whole {
				p.index = i
				out.parts = append(out.parts, p)
			}
		}
	}
	return out
}

// numberOf is a field's number; 0: it is none of the message's.
func numberOf(f reflect.StructField) protoreflect.FieldNumber {
	parts := strings.Split(f.Tag.Get("protobuf"), ",")
	if len(parts) < 2 {
		return 0
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return protoreflect.FieldNumber(n)
}

// partOf is a field whose Go type is t.
func partOf(n *node, t reflect.Type, fd protoreflect.FieldDescriptor) part {
	below := n.below[fd.JSONName()]
	switch {
	case below == nil && fd.HasPresence() && fd.ContainingOneof() == nil:
		return part{is: unset}
	case below == nil:
		return part{is: refused}
	case below.whole:
		return part{is: whole}
	case fd.IsMap() && fd.MapValue().Message() != nil:
		return part{is: entries, inner: lay(below, t.Elem().Elem(), fd.MapValue().Message())}
	case fd.Message() == nil || fd.IsMap(): // paths lead into what has no fields
		return part{is: refused}
	case fd.IsList():
		return part{is: list, inner: lay(below, t.Elem().Elem(), fd.Message())}
	}
	return part{is: one, inner: lay(below, t.Elem(), fd.Message())}
}

// members are those of a oneof, which is the field at an index of the struct.
func members(n *node, t reflect.Type, index int, oneof protoreflect.OneofDescriptor) map[reflect.Type]*part {
	out := map[reflect.Type]*part{}
	for i := range oneof.Fields().Len() {
		fd := oneof.Fields().Get(i)
		v := reflect.New(t)
		m := v.Interface().(proto.Message).ProtoReflect()
		m.Set(fd, m.NewField(fd))
		wrapper := v.Elem().Field(index).Elem().Type()
		p := partOf(n, wrapper.Elem().Field(0).Type, fd)
		out[wrapper] = &p
	}
	return out
}

func (s *shape) covers(v reflect.Value) bool {
	for i := range s.parts {
		p := &s.parts[i]
		if !p.covers(v.Field(p.index)) {
			return false
		}
	}
	return true
}

func (p *part) covers(f reflect.Value) bool {
	switch p.is {
	case unset:
		return f.IsNil()
	case one:
		return f.IsNil() || p.inner.covers(f.Elem())
	case list:
		for i := range f.Len() {
			if e := f.Index(i); !e.IsNil() && !p.inner.covers(e.Elem()) {
				return false
			}
		}
		return true
	case entries:
		if f.Len() == 0 {
			return true
		}
		for all := f.MapRange(); all.Next(); {
			if e := all.Value(); !e.IsNil() && !p.inner.covers(e.Elem()) {
				return false
			}
		}
		return true
	case choice:
		return p.coversChoice(f)
	}
	return absent(f)
}

// coversChoice looks at the member of a oneof that is set, whatever its value.
func (p *part) coversChoice(f reflect.Value) bool {
	if f.IsNil() || f.Elem().IsNil() {
		return true
	}
	member := p.chosen[f.Elem().Type()]
	if member == nil || member.is == refused {
		return false
	}
	return member.is == whole || member.covers(f.Elem().Elem().Field(0))
}

// absent reports whether a field is not set. Empty lists, maps and bytes are not.
func absent(f reflect.Value) bool {
	switch f.Kind() {
	case reflect.Slice, reflect.Map:
		return f.Len() == 0
	}
	return f.IsZero()
}
