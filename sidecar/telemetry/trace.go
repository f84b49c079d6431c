package telemetry

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Span is one finished side of a sampled request, ready to be exported.
type Span struct {
	Trace      exchange.Trace
	Name       string
	Client     bool // the span of the calling side
	Start, End time.Time
	Failed     bool
	Target     string // where to send it
	Service    string
	Attributes [][2]string
	Status     int
}

// Spans makes spans and hands them to whoever reads C; when the reader is slow, spans are dropped and counted.
type Spans struct {
	C       chan Span
	dropped atomic.Uint64
}

// NewSpans returns Spans that hold up to 2,048 that nobody has read.
func NewSpans() *Spans { return &Spans{C: make(chan Span, 2048)} }

// Lost counts spans that were read but could not be exported.
func (s *Spans) Lost(n int) { s.dropped.Add(uint64(n)) }

// Dropped returns how many spans were lost.
func (s *Spans) Dropped() uint64 { return s.dropped.Load() }

// begin continues the trace that the request carries, or begins one, and writes this proxy's span into the request's headers.
func (s *Spans) begin(x *exchange.Exchange) {
	setting := x.Conn.Via.Tracing
	t := &x.Trace
	if !readW3C(x, t) && !readB3(x, t) && !readSingleB3(x, t) {
		binary.BigEndian.PutUint64(t.TraceID[:8], rand.Uint64())
		binary.BigEndian.PutUint64(t.TraceID[8:], rand.Uint64()|1)
		t.Sampled = drawn(setting)
	} else if setting.Edge {
		t.Sampled = t.Sampled && drawn(setting)
	}
	binary.BigEndian.PutUint64(t.SpanID[:], rand.Uint64()|1)
	callIt(x)
	if setting.Silent {
		x.Request.RemoveIf(tracing)
		return
	}
	var buf [55]byte
	x.Request.SetBytes("traceparent", appendTraceparent(buf[:0], t))
	if t.Sampled {
		packSampled(&x.Request)
	}
}

// drawn says whether this request is one of those that a proxy records by its own choice.
func drawn(setting *exchange.Tracing) bool { return rand.Uint32N(10_000) < setting.Sampling }

// packSampled tells Envoys that the request is sampled: they go by the version of the UUID in x-request-id (4: undecided, 9: sampled).
func packSampled(h *exchange.Head) {
	const name, at = "x-request-id", 14
	id := h.Get(name)
	if len(id) != 36 || id[at] != '4' || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return
	}
	id = h.InternBytes(id) // what came may be shared
	id[at] = '9'
	h.SetView(name, id)
}

// callIt tells servers what the client's route calls what is done, and calls it so as their client does (Envoy's
// x-envoy-decorator-operation). Servers tell clients in return; see forward.
func callIt(x *exchange.Exchange) {
	const name = exchange.DecoratorOperation
	switch {
	case x.Conn.Via.Direction == exchange.Outbound:
		if x.Operation != "" {
			x.Request.Set(name, x.Operation)
		}
	case x.Request.Has(name):
		if said := x.Request.Get(name); len(said) > 0 {
			x.Operation, x.Trace.Renamed = said.Copy(), true
		}
		x.Request.Remove(name)
	}
}

// tracing chooses the fields that tell of a trace.
func tracing(f exchange.Field) bool {
	return f.Name.Is("traceparent") || f.Name.Is("tracestate") || f.Name.Is("b3") || f.Name.HasPrefix("x-b3-")
}

func appendTraceparent(dst []byte, t *exchange.Trace) []byte {
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, t.TraceID[:])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, t.SpanID[:])
	if t.Sampled {
		return append(dst, "-01"...)
	}
	return append(dst, "-00"...)
}

// readW3C reads traceparent (W3C Trace Context, level 1): version-traceid-parentid-flags.
func readW3C(x *exchange.Exchange, t *exchange.Trace) bool {
	v := x.Request.Get("traceparent")
	if len(v) < 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' || v.HasPrefix("ff") || (len(v) > 55 && (v.HasPrefix("00") || v[55] != '-')) {
		return false
	}
	var version, flags [1]byte
	if !decode(version[:], v[:2]) || !decode(t.TraceID[:], v[3:35]) || !decode(t.ParentID[:], v[36:52]) || !decode(flags[:], v[53:55]) ||
		t.TraceID == [16]byte{} || t.ParentID == [8]byte{} {
		t.TraceID, t.ParentID = [16]byte{}, [8]byte{}
		return false
	}
	t.Sampled = flags[0]&1 == 1
	return true
}

// readB3 reads x-b3-traceid, x-b3-spanid and x-b3-sampled.
func readB3(x *exchange.Exchange, t *exchange.Trace) bool {
	id, span := x.Request.Get("x-b3-traceid"), x.Request.Get("x-b3-spanid")
	ok := len(span) == 16 && decode(t.ParentID[:], span)
	switch len(id) {
	case 16:
		ok = ok && decode(t.TraceID[8:], id)
	case 32:
		ok = ok && decode(t.TraceID[:], id)
	default:
		ok = false
	}
	if !ok || t.TraceID == [16]byte{} {
		t.TraceID, t.ParentID = [16]byte{}, [8]byte{}
		return false
	}
	sampled := x.Request.Get("x-b3-sampled")
	t.Sampled = sampled.Is("1") || sampled.Is("true") || x.Request.Get("x-b3-flags").Is("1")
	return true
}

// readSingleB3 reads b3: traceid-spanid, then optionally the sampling state (1, d: yes), then optionally the parent of the sender's span.
func readSingleB3(x *exchange.Exchange, t *exchange.Trace) bool {
	v := x.Request.Get("b3")
	n := bytes.IndexByte(v, '-')
	if n != 16 && n != 32 || len(v) < n+17 || len(v) > n+17 && v[n+17] != '-' {
		return false
	}
	if !decode(t.TraceID[16-n/2:], v[:n]) || !decode(t.ParentID[:], v[n+1:n+17]) || t.TraceID == [16]byte{} || t.ParentID == [8]byte{} {
		t.TraceID, t.ParentID = [16]byte{}, [8]byte{}
		return false
	}
	state := v[n+17:]
	t.Sampled = state.HasPrefix("-1") || state.HasPrefix("-d")
	return true
}

func decode(dst, src []byte) bool {
	n, err := hex.Decode(dst, src)
	return err == nil && n == len(dst)
}

// end makes the span of a finished exchange.
func (s *Spans) end(x *exchange.Exchange, self *Self) {
	setting := x.Conn.Via.Tracing
	span := Span{Trace: x.Trace, Client: x.Conn.Via.Direction == exchange.Outbound, Start: x.Start, End: x.End, Target: setting.Target,
		Service: setting.Service, Status: x.Response.Status, Failed: x.Response.Status == 0 || x.Response.Status >= 500 || x.GRPCStatus > 0, Name: spanName(x)}
	limit := setting.MaxTag
	if limit == 0 {
		limit = 256
	}
	path := x.Request.Path
	path = path[:min(len(path), limit)]
	span.Attributes = [][2]string{
		{"component", "proxy"}, {"http.method", x.Request.Method.Copy()}, {"http.url", x.Request.Scheme.Copy() + "://" + x.Request.Authority.Copy() + path.Copy()},
		{"http.protocol", x.Protocol.String()}, {"response_flags", x.Flags.String()}, {"user_agent", x.Request.Get("user-agent").Copy()},
		{"guid:x-request-id", x.Request.Get("x-request-id").Copy()}, {"peer.address", x.Remote.String()},
	}
	if w := self.Workload; w != nil {
		span.Attributes = append(span.Attributes, [2]string{"istio.canonical_service", w.CanonicalName}, [2]string{"istio.canonical_revision", w.CanonicalRevision},
			[2]string{"istio.namespace", w.Namespace})
	}
	if x.Upstream.Cluster != nil {
		span.Attributes = append(span.Attributes, [2]string{"upstream_cluster", x.Upstream.Cluster.Name})
	}
	if peer := x.Conn.Peer(); peer != nil {
		span.Attributes = append(span.Attributes, [2]string{"istio.source_principal", peer.URI})
	}
	for _, tag := range setting.Tags {
		span.Attributes = append(span.Attributes, [2]string{tag.Name, tagValue(tag, x)})
	}
	select {
	case s.C <- span:
	default:
		s.dropped.Add(1)
	}
}

// tagValue is what a request's span says of a tag; "" is left out.
func tagValue(tag exchange.SpanTag, x *exchange.Exchange) string {
	if tag.Text != nil {
		return string(tag.Text.Append(nil, x))
	}
	if tag.Header != "" {
		if v := x.Request.Get(tag.Header); v != nil {
			return v.Copy()
		}
	}
	return tag.Value
}

func spanName(x *exchange.Exchange) string {
	if x.Operation != "" {
		return x.Operation
	}
	if c := x.Upstream.Cluster; c != nil && c.Service.Host != "" {
		return c.Service.Host + "/*"
	}
	if x.VirtualHost != "" {
		return x.VirtualHost + "/*"
	}
	return "heddle-proxy"
}
