package compile

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestDialectNamesWhatExists holds that no line of the dialect is a slip: each message is linked in, each field is one of its.
func TestDialectNamesWhatExists(t *testing.T) {
	for message, fields := range newChecker() {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message)
		if err != nil {
			t.Errorf("%s: %v", message, err)
			continue
		}
		for field := range fields {
			if kind.Descriptor().Fields().ByName(field) == nil {
				t.Errorf("%s has no field %s", message, field)
			}
		}
	}
}

// TestEveryOtherFieldIsRefused sets each field of each message of the dialect, one at a time, and holds that those which are not in the
// dialect are refused by name.
func TestEveryOtherFieldIsRefused(t *testing.T) {
	c := newChecker()
	for message, honoured := range c {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message)
		if err != nil {
			continue // said above
		}
		all := kind.Descriptor().Fields()
		for i := range all.Len() {
			field := all.Get(i)
			if honoured[field.Name()] {
				continue
			}
			m := kind.New()
			set(m, field)
			if err := c.check(m.Interface()); err == nil || err.Error() != string(field.Name())+": not implemented" {
				t.Errorf("%s.%s: %v", message, field.Name(), err)
			}
		}
	}
}

// set gives a field some value that is not its default.
func set(m protoreflect.Message, field protoreflect.FieldDescriptor) {
	switch {
	case field.IsMap():
		value := m.NewField(field)
		value.Map().Set(protoreflect.ValueOfString("x").MapKey(), value.Map().NewValue())
		m.Set(field, value)
	case field.IsList():
		value := m.NewField(field)
		value.List().Append(value.List().NewElement())
		m.Set(field, value)
	case field.Message() != nil:
		m.Set(field, m.NewField(field))
	default:
		m.Set(field, scalar(field))
	}
}

func scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1)
	}
	return protoreflect.ValueOfFloat64(1)
}
