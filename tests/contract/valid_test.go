package contract

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
)

// valid holds a resource against the rules that Envoy's messages carry themselves, whatever proxy it is for.
func valid(r *wire.Resource) error {
	m, err := (&anypb.Any{TypeUrl: r.Type, Value: r.Body}).UnmarshalNew()
	if err != nil {
		return err
	}
	return validMessage(m)
}

// validMessage looks into packed messages, too, which the rules themselves do not.
func validMessage(m proto.Message) (err error) {
	if rules, ok := m.(interface{ Validate() error }); ok {
		if err := rules.Validate(); err != nil {
			return err
		}
	}
	visit := func(v protoreflect.Message) {
		if err != nil {
			return
		}
		packed, ok := v.Interface().(*anypb.Any)
		if !ok {
			err = validMessage(v.Interface())
			return
		}
		inner, unpacking := packed.UnmarshalNew()
		if unpacking != nil {
			err = fmt.Errorf("unpacking %s: %w", packed.TypeUrl, unpacking)
			return
		}
		err = validMessage(inner)
	}
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap() && fd.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(v.Message())
				return err == nil
			})
		case fd.IsMap() || fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				visit(v.List().Get(i).Message())
			}
		default:
			visit(v.Message())
		}
		return err == nil
	})
	return err
}
