// Package grpcweb turns gRPC-Web requests into gRPC and the answers back (gRPC's PROTOCOL-WEB; Envoy's envoy.filters.http.grpc_web). It must not
// look into messages.
package grpcweb

import (
	"encoding/binary"
	"strconv"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Content types. The client names the one of its request in content-type, and the one that it wants back in accept.
const (
	grpc  = "application/grpc"
	proto = "application/grpc-web+proto"
	text  = "application/grpc-web-text+proto"
)

// maxMessage is how much of a body that is not gRPC the client gets as grpc-message, in bytes; Envoy's limit.
const maxMessage = 16 << 10

// Filter is the filter; it has no settings.
type Filter struct{}

// New returns a Filter.
func New() *Filter { return &Filter{} }

// Request turns a gRPC-Web request into a gRPC one and has its bodies translated.
func (*Filter) Request(x *exchange.Exchange) exchange.Outcome {
	h := &x.Request
	inText, web := form(h.Get("content-type"))
	if !web {
		return exchange.OK
	}
	outText, _ := form(h.Get("accept"))
	h.Remove("content-length") // of what the client sends, which is not what the upstream gets
	h.Set("content-type", grpc)
	if !h.Has("grpc-accept-encoding") {
		h.Set("grpc-accept-encoding", "identity") // browsers cannot decompress messages
	}
	x.GRPC = true
	x.Bridge = func(d exchange.Downstream) exchange.Downstream {
		c := &client{Downstream: d, x: x, text: outText}
		if inText {
			c.in = &decoder{}
		}
		return c
	}
	return exchange.OK
}

// form tells the forms of gRPC-Web apart.
func form(v exchange.View) (inText, web bool) {
	switch string(v) {
	case "application/grpc-web", proto:
		return false, true
	case "application/grpc-web-text", text:
		return true, true
	}
	return false, false
}

// client is a gRPC-Web client as a gRPC one.
type client struct {
	exchange.Downstream
	x    *exchange.Exchange
	in   *decoder // of a request in base64
	fail error    // what is wrong with a request that was read whole

	text    bool // the answer is in base64
	out     encoder
	foreign bool // the answer is no gRPC: its body becomes its grpc-message
	message []byte
}

// detailsBase64 is Envoy's text for %RESPONSE_CODE_DETAILS%.
const detailsBase64 = "grpc_base_64_decode_failed"

func (c *client) malformed() error {
	c.x.Details = detailsBase64
	return exchange.ErrProtocol
}

// BodyBuffered implements exchange.Downstream.
func (c *client) BodyBuffered() (exchange.View, bool) {
	p, whole := c.Downstream.BodyBuffered()
	if c.in == nil || !whole {
		return p, whole
	}
	if err := c.in.decode(p); err != nil || !c.in.even() {
		c.fail = c.malformed()
		return nil, false
	}
	return c.in.out, true
}

// ReadBody implements exchange.Downstream.
func (c *client) ReadBody() (exchange.View, bool, error) {
	if c.fail != nil {
		return nil, false, c.fail
	}
	for {
		p, end, err := c.Downstream.ReadBody()
		if c.in == nil || err != nil {
			return p, end, err
		}
		c.in.out = c.in.out[:0]
		if err := c.in.decode(p); err != nil || end && !c.in.even() {
			return nil, false, c.malformed()
		}
		if len(c.in.out) > 0 || end {
			return c.in.out, end, nil
		}
	}
}

// WriteHead implements exchange.Downstream.
func (c *client) WriteHead(end bool) error {
	h := &c.x.Response
	kind := h.Get("content-type")
	_, web := form(kind)
	c.foreign = !end && (h.Status != 200 || !isGRPC(kind) && !web)
	h.Remove("content-length")
	if c.text {
		h.Set("content-type", text)
	} else {
		h.Set("content-type", proto)
	}
	if c.foreign {
		return nil // the head waits for the body, which it will contain
	}
	return c.Downstream.WriteHead(end)
}

// isGRPC says whether a content type is gRPC's.
func isGRPC(v exchange.View) bool {
	return v.HasPrefix(grpc) && (len(v) == len(grpc) || v[len(grpc)] == '+' || v[len(grpc)] == ';')
}

// WriteBody implements exchange.Downstream.
func (c *client) WriteBody(p []byte, end bool) error {
	switch {
	case c.foreign:
		c.message = append(c.message, p[:min(len(p), maxMessage-len(c.message))]...)
		if !end {
			return nil
		}
		return c.explain()
	case !c.text:
		return c.Downstream.WriteBody(p, end)
	}
	c.out.out = c.out.out[:0]
	c.out.messages(p)
	if end {
		c.out.pad()
	}
	return c.Downstream.WriteBody(c.out.out, end)
}

// WriteTrailers implements exchange.Downstream: they are the body's last frame, whose first bit says so.
func (c *client) WriteTrailers(t *exchange.Head) error {
	if c.foreign {
		return c.explain()
	}
	frame := make([]byte, 5, 256)
	frame[0] = 0x80
	for _, f := range t.Fields {
		frame = append(append(frame, f.Name...), ':')
		frame = append(append(frame, f.Value...), "\r\n"...)
	}
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-5))
	if !c.text {
		return c.Downstream.WriteBody(frame, true)
	}
	c.out.out = c.out.out[:0]
	c.out.pad()
	c.out.put(frame)
	c.out.pad()
	return c.Downstream.WriteBody(c.out.out, true)
}

// Flush implements exchange.Downstream.
func (c *client) Flush() error {
	if c.foreign {
		return nil
	}
	return c.Downstream.Flush()
}

// explain ends an answer that is no gRPC, with its status and body as gRPC says them.
func (c *client) explain() error {
	h := &c.x.Response
	c.x.GRPCStatus = exchange.GRPCOf(h.Status)
	h.Set("grpc-status", strconv.Itoa(c.x.GRPCStatus))
	h.SetBytes("grpc-message", percent(c.message))
	h.Set("content-length", "0")
	return c.Downstream.WriteHead(true)
}

// percent encodes a grpc-message (gRPC's PROTOCOL-HTTP2, Status-Message).
func percent(p []byte) []byte {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(p))
	for _, b := range p {
		if b < ' ' || b > '~' || b == '%' {
			out = append(out, '%', hex[b>>4], hex[b&15])
			continue
		}
		out = append(out, b)
	}
	return out
}
