package block

import (
	"hash/maphash"
	"strconv"

	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

const (
	internSlots = 128
	internBytes = 384 // room for an x-forwarded-client-cert; longer strings are not kept
)

// Encoder turns heads into header blocks. Whoever uses it holds the connection's lock, and queues the block before
// letting go: blocks must arrive in the order in which they were encoded.
type Encoder struct {
	enc  *hpack.Encoder
	buf  []byte
	seed maphash.Seed
	kept *[internSlots]string // strings made before, by hash: HPACK wants strings, and most of them repeat
}

// NewEncoder returns an Encoder.
func NewEncoder() *Encoder {
	e := &Encoder{seed: maphash.MakeSeed()}
	e.enc = hpack.NewEncoder(e)
	e.enc.SetMaxDynamicTableSizeLimit(TableSize)
	return e
}

// Write collects what the HPACK encoder says; it is not for others.
func (e *Encoder) Write(p []byte) (int, error) {
	e.buf = append(e.buf, p...)
	return len(p), nil
}

// Request encodes a request's head; protocol is for an extended CONNECT. The block is valid until the next call.
func (e *Encoder) Request(h *exchange.Head, protocol string) []byte {
	e.buf = e.buf[:0]
	grpc := IsGRPC(h)
	if protocol != "" {
		e.put(":method", "CONNECT", false)
		e.put(":protocol", protocol, false)
	} else {
		e.put(":method", e.intern(h.Method), false)
	}
	if !h.Method.Is("CONNECT") {
		scheme := "http"
		if len(h.Scheme) > 0 {
			scheme = e.intern(h.Scheme)
		}
		path := "/"
		if len(h.Path) > 0 {
			path = e.intern(h.Path)
		}
		e.put(":scheme", scheme, false)
		e.put(":path", path, !grpc) // paths of methods repeat, others rarely do
	}
	if len(h.Authority) > 0 {
		e.put(":authority", e.intern(h.Authority), false)
	}
	e.fields(h)
	if grpc {
		e.put("te", "trailers", false)
	}
	return e.buf
}

// Response encodes a response's head.
func (e *Encoder) Response(h *exchange.Head) []byte {
	e.buf = e.buf[:0]
	status := "200"
	if h.Status != 200 {
		status = strconv.Itoa(h.Status)
	}
	e.put(":status", status, false)
	e.fields(h)
	return e.buf
}

// Trailers encodes trailers.
func (e *Encoder) Trailers(h *exchange.Head) []byte {
	e.buf = e.buf[:0]
	e.fields(h)
	return e.buf
}

func (e *Encoder) fields(h *exchange.Head) {
	for i := range h.Fields {
		f := &h.Fields[i]
		if hopByHop(f.Name) {
			continue
		}
		e.put(e.intern(f.Name), e.intern(f.Value), unique(f.Name))
	}
}

// put encodes one field. once: it will hardly be seen again, and must not push others out of the table.
func (e *Encoder) put(name, value string, once bool) {
	// The encoder's only error is its writer's, and Write has none.
	_ = e.enc.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: once})
}

// intern returns p as a string, the same one where it was asked before and not displaced since.
func (e *Encoder) intern(p []byte) string {
	if len(p) == 0 {
		return ""
	}
	if len(p) > internBytes {
		return string(p)
	}
	if e.kept == nil {
		e.kept = new([internSlots]string)
	}
	slot := &e.kept[maphash.Bytes(e.seed, p)%internSlots]
	if *slot != string(p) {
		*slot = string(p)
	}
	return *slot
}

// hopByHop names the fields that have no place in HTTP/2 (RFC 9113, 8.2.2), and host, which :authority replaces.
func hopByHop(name exchange.View) bool {
	switch string(name) {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te", "host", "http2-settings":
		return true
	}
	return len(name) == 0 || name[0] == ':'
}

// unique names fields whose values differ from message to message, and secrets that no table should remember.
func unique(name exchange.View) bool {
	switch string(name) {
	case "content-length", "age", "date", "etag", "if-modified-since", "if-none-match", "location", "set-cookie", "last-modified",
		"authorization", "proxy-authorization", "x-request-id", "traceparent", "tracestate", "grpc-timeout",
		"x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "b3",
		"x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms":
		return true
	}
	return false
}

// Resize obeys the peer's limit on the table.
func (e *Encoder) Resize(n uint32) { e.enc.SetMaxDynamicTableSize(min(n, TableSize)) }

// IsGRPC says whether a head's content-type is gRPC's.
func IsGRPC(h *exchange.Head) bool {
	t := h.Get("content-type")
	const want = "application/grpc"
	return t.HasPrefix(want) && (len(t) == len(want) || t[len(want)] == '+' || t[len(want)] == ';')
}
