package discovery

import (
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// question is a delta request as it comes. Nearly all only accept a response: these are read without a message being made of them.
type question struct {
	answer  *request // nil: it is what message says
	message ads.DeltaDiscoveryRequest
}

// ProtoReflect makes a question a message for whoever does not know better, such as a gRPC server that was made without Encoding.
func (q *question) ProtoReflect() protoreflect.Message {
	if q.answer != nil {
		q.message.TypeUrl, q.message.ResponseNonce = q.answer.typ, q.answer.nonce
	}
	return q.message.ProtoReflect()
}

// Field numbers of envoy.service.discovery.v3.DeltaDiscoveryRequest.
const (
	askedType  = 2
	askedNonce = 6
)

// accepts reads a request that does nothing but accept one of this server's responses; nil: it may do more.
func accepts(data mem.BufferSlice) *request {
	if len(data) != 1 {
		return nil
	}
	var r request
	for rest := data[0].ReadOnlyData(); len(rest) > 0; {
		field, kind, n := protowire.ConsumeTag(rest)
		if n < 0 || kind != protowire.BytesType {
			return nil
		}
		value, m := protowire.ConsumeBytes(rest[n:])
		if m < 0 {
			return nil
		}
		rest = rest[n+m:]
		switch field {
		case askedType:
			if r.typ = known(value); r.typ == "" {
				return nil
			}
		case askedNonce:
			if !number(value) {
				return nil
			}
			r.nonce = string(value)
		default:
			return nil
		}
	}
	if r.typ == "" || r.nonce == "" {
		return nil
	}
	return &r
}

// known returns the type URL that the bytes are, of those that are served; otherwise "".
func known(url []byte) string {
	for _, typ := range pushOrder() {
		if string(url) == typ {
			return typ
		}
	}
	return ""
}

// number reports whether text is all digits, as the nonces of this server are.
func number(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
