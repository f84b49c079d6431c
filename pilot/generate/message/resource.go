package message

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
	packed "github.com/heddle-mesh/heddle/pilot/record"
)

// Marshal returns the one encoding of m.
func Marshal(m proto.Message) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil { // only invalid UTF-8 can do this, and translate admits none
		panic(fmt.Sprintf("generate: %T made of valid strings cannot be marshalled: %v", m, err))
	}
	return body
}

// Resource packs m for the wire.
func Resource(typeURL, name string, m proto.Message) *wire.Resource {
	return Packed(typeURL, name, Marshal(m))
}

// Packed wraps a marshalled message; its version is a hash of the bytes.
func Packed(typeURL, name string, body []byte) *wire.Resource {
	sum := sha256.Sum256(body)
	version := hex.EncodeToString(sum[:8])
	record, body := packed.Of(typeURL, name, version, body)
	return &wire.Resource{Type: typeURL, Name: name, Version: version, Body: body, Record: record}
}

// Any wraps an extension's configuration.
func Any(m proto.Message) *anypb.Any {
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: Marshal(m)}
}

// Duration is a length of time.
func Duration(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

// Optional returns nil for a nil duration.
func Optional(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return durationpb.New(*d)
}

// Nonzero returns nil for zero: the receiver's default.
func Nonzero(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// U64 is a number that may be absent.
func U64(n uint64) *wrapperspb.UInt64Value { return wrapperspb.UInt64(n) }

// U32 is a number that may be absent.
func U32(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }

// True is true where absent would not be.
func True() *wrapperspb.BoolValue { return wrapperspb.Bool(true) }
