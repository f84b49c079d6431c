package telemetry

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/heddle-mesh/heddle/internal/condition"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/format"
)

// attributeFormats are the attributes of conditions that a command operator writes.
func attributeFormats() map[string]string {
	return map[string]string{
		"request.path": "%REQ(:PATH)%", "request.host": "%REQ(:AUTHORITY)%", "request.method": "%REQ(:METHOD)%", "request.scheme": "%REQ(:SCHEME)%",
		"request.protocol": "%PROTOCOL%", "request.id": "%REQ(X-REQUEST-ID)%", "request.referer": "%REQ(REFERER)%", "request.useragent": "%REQ(USER-AGENT)%",
		"response.code_details": "%RESPONSE_CODE_DETAILS%", "connection.requested_server_name": "%REQUESTED_SERVER_NAME%",
		"connection.termination_details": "%CONNECTION_TERMINATION_DETAILS%", "source.address": "%DOWNSTREAM_REMOTE_ADDRESS%",
		"destination.address": "%DOWNSTREAM_LOCAL_ADDRESS%", "upstream.address": "%UPSTREAM_HOST%",
		"upstream.transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%", "xds.cluster_name": "%UPSTREAM_CLUSTER_RAW%", "xds.route_name": "%ROUTE_NAME%",
	}
}

// asking answers for the attributes of an expression. It is immutable.
type asking struct {
	attributes []condition.Attribute
	formats    []*format.Format // by attribute; nil where Value knows it
	questions  sync.Pool        // *question
}

func newAsking(attributes []condition.Attribute) (*asking, error) {
	out, written := &asking{attributes: attributes, formats: make([]*format.Format, len(attributes))}, attributeFormats()
	for i, a := range attributes {
		if text, ok := written[a.Name]; ok {
			var err error
			if out.formats[i], err = format.New(text, ""); err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
		}
	}
	out.questions.New = func() any { return &question{asking: out} }
	return out, nil
}

// of begins to answer for a request; done ends it.
func (a *asking) of(x *exchange.Exchange) *question {
	q := a.questions.Get().(*question)
	q.x, q.scratch = x, q.scratch[:0]
	return q
}

func (q *question) done() {
	q.x = nil
	q.asking.questions.Put(q)
}

// lineFilter decides which requests have a line.
type lineFilter struct {
	condition *condition.Condition
	asking    *asking
}

// newLineFilter compiles an expression; nil: every request has a line.
func newLineFilter(expression string) (*lineFilter, error) {
	if expression == "" {
		return nil, nil
	}
	c, err := condition.Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	asking, err := newAsking(c.Attributes)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return &lineFilter{c, asking}, nil
}

// wants reports whether a request has a line.
func (f *lineFilter) wants(x *exchange.Exchange) bool {
	if f == nil {
		return true
	}
	q := f.asking.of(x)
	defer q.done()
	return f.condition.Holds(q)
}

// question answers for one request.
type question struct {
	asking  *asking
	x       *exchange.Exchange
	scratch []byte
}

// Value implements condition.Values.
func (q *question) Value(i int) (condition.Value, bool) {
	x, a := q.x, &q.asking.attributes[i]
	switch a.Name {
	case "request.headers":
		v := x.Request.Get(a.Key)
		return condition.Value{Text: v}, v != nil
	case "response.headers":
		v := x.Response.Get(a.Key)
		return condition.Value{Text: v}, v != nil
	case "request.url_path":
		path, _, _ := bytes.Cut(x.Request.Path, []byte("?"))
		return condition.Value{Text: path}, len(path) > 0
	case "response.code":
		return condition.Value{Int: int64(x.Response.Status)}, true
	case "response.grpc_status":
		return condition.Value{Int: int64(x.GRPCStatus)}, x.GRPC && x.GRPCStatus >= 0
	case "request.size":
		return condition.Value{Int: x.Received}, true
	case "response.size":
		return condition.Value{Int: x.Sent}, true
	case "request.duration":
		return condition.Value{Int: int64(x.End.Sub(x.Start))}, true
	case "source.port":
		return condition.Value{Int: int64(x.Conn.Source.Port())}, x.Conn.Source.IsValid()
	case "destination.port":
		return condition.Value{Int: int64(x.Conn.Destination.Port())}, x.Conn.Destination.IsValid()
	case "connection.mtls":
		mutual := condition.Value{}
		if x.Conn.Peer() != nil {
			mutual.Int = 1
		}
		return mutual, true
	}
	n := len(q.scratch)
	q.scratch = q.asking.formats[i].Append(q.scratch, x)
	text := q.scratch[n:]
	return condition.Value{Text: text}, len(text) > 0
}
