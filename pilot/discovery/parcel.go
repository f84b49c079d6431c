package discovery

import (
	"fmt"

	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto" // registers the codec that Encoding adds to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heddle-mesh/heddle/pilot/record"
)

// parcel is a response as it travels. What its resources hold is lent to every stream: a thousand proxies that connect at once, or are told of
// one change, share the bytes.
type parcel struct {
	parts   mem.BufferSlice
	delta   bool
	message proto.Message // what parts are; nil until somebody asks for it
}

// ProtoReflect makes a parcel a message for whoever does not know better, such as a gRPC server that was made without Encoding.
func (p *parcel) ProtoReflect() protoreflect.Message {
	if p.message == nil {
		if p.message = proto.Message(&ads.DiscoveryResponse{}); p.delta {
			p.message = &ads.DeltaDiscoveryResponse{}
		}
		_ = proto.Unmarshal(p.parts.Materialize(), p.message) // made a moment ago, of strings that translate has checked
	}
	return p.message.ProtoReflect()
}

// Field numbers of envoy.service.discovery.v3.DiscoveryResponse and DeltaDiscoveryResponse, where both have them.
const (
	fieldVersion   = 1
	fieldResources = 2
	fieldTypeURL   = 4
	fieldNonce     = 5
	fieldRemoved   = 6 // of a delta
)

// Field numbers of google.protobuf.Any.
const (
	fieldAnyType  = 1
	fieldAnyValue = 2
)

// head begins a parcel with all but its resources.
func head(r *response) []byte {
	size := len(r.version) + len(r.typ) + len(r.nonce) + 16
	for _, name := range r.removed {
		size += len(name) + 8
	}
	out := make([]byte, 0, size)
	out = appendText(out, fieldVersion, r.version)
	out = appendText(out, fieldTypeURL, r.typ)
	out = appendText(out, fieldNonce, r.nonce)
	for _, name := range r.removed {
		out = protowire.AppendTag(out, fieldRemoved, protowire.BytesType)
		out = protowire.AppendString(out, name)
	}
	return out
}

func appendText(to []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return to
	}
	return protowire.AppendString(protowire.AppendTag(to, field, protowire.BytesType), text)
}

// delta packs a response of the delta variant.
func delta(r *response) *parcel {
	p := &parcel{parts: make(mem.BufferSlice, 0, len(r.resources)+1), delta: true}
	p.parts = append(p.parts, mem.SliceBuffer(head(r)))
	for _, res := range r.resources {
		packed := res.Record
		if packed == nil {
			packed, _ = record.Of(res.Type, res.Name, res.Version, res.Body)
		}
		p.parts = append(p.parts, mem.SliceBuffer(packed))
	}
	return p
}

// whole packs a response of the state-of-the-world variant: its resources have neither names nor versions.
func whole(r *response) *parcel {
	p := &parcel{parts: make(mem.BufferSlice, 0, 2*len(r.resources)+1)}
	p.parts = append(p.parts, mem.SliceBuffer(head(r)))
	for _, res := range r.resources {
		size := protowire.SizeTag(fieldAnyType) + protowire.SizeBytes(len(res.Type)) + protowire.SizeTag(fieldAnyValue) + protowire.SizeBytes(len(res.Body))
		lead := protowire.AppendTag(nil, fieldResources, protowire.BytesType)
		lead = protowire.AppendVarint(lead, uint64(size))
		lead = protowire.AppendString(protowire.AppendTag(lead, fieldAnyType, protowire.BytesType), res.Type)
		lead = protowire.AppendVarint(protowire.AppendTag(lead, fieldAnyValue, protowire.BytesType), uint64(len(res.Body)))
		p.parts = append(p.parts, mem.SliceBuffer(lead), mem.SliceBuffer(res.Body))
	}
	return p
}

// Encoding is what a gRPC server should be made with: it sends parcels as they are, and messages as any other server. One that is made without
// copies them for each stream.
func Encoding() grpc.ServerOption {
	return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(protocodec.Name)})
}

// codec sends parcels as they are, and reads answers at a glance.
type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if p, ok := v.(*parcel); ok {
		return p.parts, nil
	}
	data, err := c.CodecV2.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", v, err)
	}
	return data, nil
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if q, ok := v.(*question); ok {
		if q.answer = accepts(data); q.answer != nil {
			return nil
		}
	}
	if err := c.CodecV2.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decoding %T: %w", v, err)
	}
	return nil
}
