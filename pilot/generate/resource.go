package generate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
)

// marshal returns the one encoding of m.
func marshal(m proto.Message) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil { // only invalid UTF-8 can do this, and translate admits none
		panic(fmt.Sprintf("generate: %T made of valid strings cannot be marshalled: %v", m, err))
	}
	return body
}

// resource packs m for the wire.
func resource(typeURL, name string, m proto.Message) *wire.Resource {
	return packed(typeURL, name, marshal(m))
}

// packed wraps a marshalled message; its version is a hash of the bytes.
func packed(typeURL, name string, body []byte) *wire.Resource {
	sum := sha256.Sum256(body)
	return &wire.Resource{Type: typeURL, Name: name, Version: hex.EncodeToString(sum[:8]), Body: body}
}

// anyOf wraps an extension's configuration.
func anyOf(m proto.Message) *anypb.Any {
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: marshal(m)}
}

func duration(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

// optional returns nil for a nil duration.
func optional(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return durationpb.New(*d)
}

// nonzero returns nil for zero: the receiver's default.
func nonzero(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func u64(n uint64) *wrapperspb.UInt64Value { return wrapperspb.UInt64(n) }

func u32(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }

func truth() *wrapperspb.BoolValue { return wrapperspb.Bool(true) }
