package fields

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/report"
)

// TestShapesAgreeWithNames holds the quick look at a message against the one that names what is wrong, for messages with anything set.
func TestShapesAgreeWithNames(t *testing.T) {
	for _, c := range []struct {
		message proto.Message
		set     Set
	}{
		{&networking.VirtualService{}, New("{hosts,gateways}", "http.{name,match.{uri.{exact,prefix},headers.exact,port},route.{weight,destination.host}}",
			"http.directResponse.{status,body.bytes}", "http.{timeout,retries}", "http.headers.request.set", "tcp")},
		{&networking.DestinationRule{}, New("{host,exportTo}", "workloadSelector", "trafficPolicy.{loadBalancer.{simple,consistentHash.useSourceIp}}",
			"subsets.{name,labels,trafficPolicy.connectionPool.tcp}", "trafficPolicy.portLevelSettings.port.number")},
	} {
		random := rand.New(rand.NewPCG(1, 2))
		covered := 0
		for range 4000 {
			m := c.message.ProtoReflect().New()
			fill(random, m, 0.4/float64(m.Descriptor().Fields().Len())*8)
			log := &report.Log{}
			c.set.check(m, "", "spec", log)
			got := c.set.shapes.covers(c.set.tree, m.Interface())
			if got != (len(log.Issues) == 0) {
				t.Fatalf("%s: covered: %t, and there is to say: %v", m.Interface(), got, log.Issues)
			}
			if got {
				covered++
			}
		}
		if covered < 100 || covered > 3900 {
			t.Errorf("%T: %d of 4000 are covered: most of what this compares is alike", c.message, covered)
		}
	}
}

// fill sets fields of a message at random, below too.
func fill(random *rand.Rand, m protoreflect.Message, share float64) {
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		fd := all.Get(i)
		if random.Float64() > share {
			continue
		}
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v := m.Mutable(fd).Map().NewValue()
				fill(random, v.Message(), share)
				m.Mutable(fd).Map().Set(protoreflect.ValueOfString("k").MapKey(), v)
			}
		case fd.IsList() && fd.Message() != nil:
			for range random.IntN(3) {
				fill(random, m.Mutable(fd).List().AppendMutable().Message(), share)
			}
		case fd.IsList():
			list := m.Mutable(fd).List()
			list.Append(list.NewElement())
		case fd.Message() != nil:
			fill(random, m.Mutable(fd).Message(), share/2)
		default:
			m.Set(fd, scalar(random, fd))
		}
	}
}

// scalar is a value of a field, or the one that counts as none unless the field is of a oneof.
func scalar(random *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	if random.IntN(2) == 0 {
		return fd.Default()
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1)
	}
	return fd.Default()
}
