// Package older says resources in the dialects of proxies that are older than this build. It is PURE. What an older proxy does as well without is left
// out; what it must not do without stays, so that the proxy refuses the resource by the field's name and keeps what it has: nothing is ever opened.
package older

import (
	"slices"
	"strings"

	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
)

// Of returns the dialect to generate for a proxy that announces one: 0 where that is this build's, a later one's, or none at all. What is before
// wire.OldestDialect is told as much as that one.
func Of(announced int) int { return of(announced, wire.OldestDialect, wire.Dialect) }

func of(announced, oldest, newest int) int {
	if announced == 0 || announced >= newest {
		return 0
	}
	return max(announced, oldest)
}

// Lower returns r as a proxy of an older dialect understands it: r itself where it does already, and where it cannot.
func Lower(r *wire.Resource, dialect int) *wire.Resource { return tables()[dialect].say(r) }

// say is Lower for the table's dialect; nil: this build's.
func (t *table) say(r *wire.Resource) *wire.Resource {
	if r == nil || t == nil {
		return r
	}
	packed := &anypb.Any{TypeUrl: r.Type, Value: r.Body}
	m, err := packed.UnmarshalNew()
	if err != nil {
		return r
	}
	before := proto.Clone(m)
	if t.lower(m.ProtoReflect()) != same || proto.Equal(before, m) {
		return r
	}
	return message.Resource(r.Type, r.Name, m)
}

// verdict is what becomes of a message.
type verdict int

const (
	same   verdict = iota // it is said, maybe with less in it
	away                  // it is not said, nor what it is the only part of
	refuse                // an older proxy must refuse it
)

// lower takes out of m what the dialect does not know and need not.
func (t *table) lower(m protoreflect.Message) verdict {
	name := m.Descriptor().FullName()
	if packed, ok := m.Interface().(*anypb.Any); ok {
		return t.lowerAny(packed)
	}
	if strings.HasPrefix(string(name), "google.protobuf.") {
		return same
	}
	known, ok := t.fields[name]
	if !ok {
		return t.missing(name)
	}
	fields := m.Descriptor().Fields()
	for n := range fields.Len() {
		field := fields.Get(n)
		if !m.Has(field) {
			continue
		}
		if !known[field.Name()] {
			if !t.without[string(field.FullName())] {
				return refuse
			}
			m.Clear(field)
			continue
		}
		if v := t.lowerField(m, field); v != same {
			return v
		}
	}
	t.lowerValues(m)
	if socket, ok := m.Interface().(*tls.UpstreamTlsContext); ok && t.ownDomain {
		lowerDomains(socket.GetCommonTlsContext())
	}
	return same
}

// missing is what becomes of a message that the dialect does not know at all.
func (t *table) missing(name protoreflect.FullName) verdict {
	if t.without[string(name)] {
		return away
	}
	return refuse
}

// lowerField goes down into a field that the dialect knows. An element that goes leaves its list; anything else takes along what it is a part of.
func (t *table) lowerField(m protoreflect.Message, field protoreflect.FieldDescriptor) verdict {
	switch {
	case field.IsMap():
		return t.lowerMap(m.Get(field).Map(), field)
	case field.Message() == nil:
		return same
	case !field.IsList():
		return t.lower(m.Get(field).Message())
	}
	list, kept := m.Mutable(field).List(), 0
	for n := range list.Len() {
		switch t.lower(list.Get(n).Message()) {
		case refuse:
			return refuse
		case same:
			list.Set(kept, list.Get(n))
			kept++
		}
	}
	list.Truncate(kept)
	return same
}

func (t *table) lowerMap(m protoreflect.Map, field protoreflect.FieldDescriptor) verdict {
	if field.MapValue().Message() == nil {
		return same
	}
	out := same
	var gone []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		switch t.lower(v.Message()) {
		case refuse:
			out = refuse
		case away:
			gone = append(gone, k)
		}
		return out == same
	})
	for _, k := range gone {
		m.Clear(k)
	}
	return out
}

func (t *table) lowerAny(packed *anypb.Any) verdict {
	m, err := packed.UnmarshalNew()
	if err != nil {
		return refuse
	}
	v := t.lower(m.ProtoReflect())
	if v == same {
		packed.Value = message.Marshal(m)
	}
	return v
}

// lowerValues says what a known field may not say in the dialect in its words.
func (t *table) lowerValues(m protoreflect.Message) {
	for _, rule := range t.values {
		if rule.message != m.Descriptor().FullName() {
			continue
		}
		field := m.Descriptor().Fields().ByName(rule.field)
		switch {
		case field.Kind() == protoreflect.EnumKind:
			value := string(field.Enum().Values().ByNumber(m.Get(field).Enum()).Name())
			if !slices.Contains(rule.known, value) {
				m.Set(field, protoreflect.ValueOfEnum(field.Enum().Values().ByName(protoreflect.Name(rule.instead)).Number()))
			}
		case m.Has(field):
			words := slices.DeleteFunc(strings.Split(m.Get(field).String(), ","), func(word string) bool {
				return !slices.Contains(rule.known, word) && !number(word)
			})
			m.Set(field, protoreflect.ValueOfString(strings.Join(words, ",")))
		}
	}
}

// lowerDomains leaves out the trust domains under which an endpoint's identity is accepted, which would be names of their own. What is left are the other
// names, or the endpoint's very identity.
func lowerDomains(c *tls.CommonTlsContext) {
	for _, v := range []*tls.CertificateValidationContext{c.GetValidationContext(), c.GetCombinedValidationContext().GetDefaultValidationContext()} {
		if v != nil {
			//lint:ignore SA1019 it is what meshes speak
			v.MatchSubjectAltNames = slices.DeleteFunc(v.MatchSubjectAltNames, transport.IsDomain)
		}
	}
}

// number reports whether a word is a status code, which all dialects know.
func number(word string) bool { return len(word) == 3 && strings.Trim(word, "0123456789") == "" }

// Unknown returns the first field or message of a resource that a dialect does not know; "" where there is none. It is what a proxy of that dialect
// would refuse the resource for.
func Unknown(r *wire.Resource, dialect int) string { return tables()[dialect].refused(r) }

func (t *table) refused(r *wire.Resource) string {
	m, err := (&anypb.Any{TypeUrl: r.Type, Value: r.Body}).UnmarshalNew()
	if err != nil {
		return r.Type
	}
	return t.unknown(m.ProtoReflect())
}

func (t *table) unknown(m protoreflect.Message) (found string) {
	name := m.Descriptor().FullName()
	if packed, ok := m.Interface().(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return packed.TypeUrl
		}
		return t.unknown(inner.ProtoReflect())
	}
	if strings.HasPrefix(string(name), "google.protobuf.") {
		return ""
	}
	known, ok := t.fields[name]
	if !ok {
		return string(name)
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case !known[field.Name()]:
			found = string(field.FullName())
		case field.IsMap():
			if field.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					found = t.unknown(v.Message())
					return found == ""
				})
			}
		case field.Message() == nil:
		case field.IsList():
			for n := 0; n < v.List().Len() && found == ""; n++ {
				found = t.unknown(v.List().Get(n).Message())
			}
		default:
			found = t.unknown(v.Message())
		}
		return found == ""
	})
	return found
}
