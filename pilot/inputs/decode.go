package inputs

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/heddle-mesh/heddle/api/wire"
)

// rawObject is an object before its spec is read.
type rawObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec"`
	Status            json.RawMessage `json:"status"`
}

// message is a pointer to a generated API type, which reads itself from JSON as Istio does.
type message[S any] interface {
	*S
	proto.Message
	json.Unmarshaler
}

// Decode reads one object of the Kinds from JSON. What its schema does not know becomes a Problem, so that no field is ever
// silently ignored; only what is no object of a known kind and version at all is an error.
func Decode(data []byte) (Object, error) {
	var raw rawObject
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("reading object: %w", err)
	}
	gv, err := schema.ParseGroupVersion(raw.APIVersion)
	if err != nil {
		return nil, fmt.Errorf("reading apiVersion: %w", err)
	}
	kind, ok := FindKind(gv.Group, raw.Kind)
	if !ok {
		return nil, fmt.Errorf("%s %s: not a kind that Heddle reads", raw.APIVersion, raw.Kind)
	}
	if !slices.Contains(kind.Versions, gv.Version) {
		return nil, fmt.Errorf("%s: version %q of %s does not exist", kind.Kind, gv.Version, kind.Group)
	}
	raw.ManagedFields = nil
	delete(raw.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
	return kind.decode(raw), nil
}

func decodeAs[S any, P message[S]](raw rawObject) Object {
	out := &Config[S]{TypeMeta: raw.TypeMeta, ObjectMeta: raw.ObjectMeta, Spec: new(S), Given: given(raw), Unhealthy: unhealthy(raw)}
	if len(raw.Spec) == 0 || string(raw.Spec) == "null" {
		return out
	}
	p := P(out.Spec)
	out.Problems = unknownFields(raw.Spec, p.ProtoReflect().Descriptor(), "spec")
	if err := p.UnmarshalJSON(raw.Spec); err != nil {
		out.Problems = append(out.Problems, locate(raw.Spec, err, func(spec json.RawMessage) error { return P(new(S)).UnmarshalJSON(spec) })...)
		out.Spec = salvage[S, P](raw.Spec)
	}
	return out
}

// given reads what a ServiceEntry's status says of addresses. A status that cannot be read says nothing: it is nobody's wish.
func given(raw rawObject) []HostAddress {
	var status struct {
		Addresses []HostAddress `json:"addresses"`
	}
	if raw.Kind != "ServiceEntry" || len(raw.Status) == 0 || json.Unmarshal(raw.Status, &status) != nil {
		return nil
	}
	return status.Addresses
}

// unhealthy reads whether a WorkloadEntry is probed and not known to be healthy. A status that cannot be read says nothing good.
func unhealthy(raw rawObject) bool {
	if raw.Kind != "WorkloadEntry" || raw.Annotations[wire.HealthChecked] != "true" {
		return false
	}
	var status struct {
		Conditions []struct{ Type, Status string }
	}
	if len(raw.Status) == 0 || json.Unmarshal(raw.Status, &status) != nil {
		return true
	}
	return !slices.ContainsFunc(status.Conditions, func(c struct{ Type, Status string }) bool {
		return c.Type == wire.HealthCondition && c.Status == "True"
	})
}

// salvage reads what can be read, field by field, of a spec that as a whole cannot: a security object that is not understood
// must still select whom its author meant.
func salvage[S any, P message[S]](spec json.RawMessage) *S {
	out := new(S)
	var fields map[string]json.RawMessage
	if json.Unmarshal(spec, &fields) != nil {
		return out
	}
	for name, value := range fields {
		one, err := json.Marshal(map[string]json.RawMessage{name: value})
		if err != nil {
			continue
		}
		if part := new(S); P(part).UnmarshalJSON(one) == nil {
			proto.Merge(P(out), P(part))
		}
	}
	return out
}

func decodeUnimplemented(raw rawObject) Object {
	return &Unimplemented{TypeMeta: raw.TypeMeta, ObjectMeta: raw.ObjectMeta, Spec: &struct{}{}}
}
