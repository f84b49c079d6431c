// Package condition is the part of CEL that access logs are filtered by, and labels of metrics are made of: comparisons of attributes of a request
// with constants, joined by &&, || and !, and choices between attributes and constants. It reads an expression and says whether it holds; what attributes are worth, its caller knows. It never changes what it is given.
package condition

import (
	"bytes"
	"regexp"
	"slices"
)

// Kind is what kind of value something has.
type Kind uint8

// The kinds.
const (
	Bool Kind = iota
	Int
	Text
	Duration // nanoseconds, in Int
	headers  // only by their names
)

func (k Kind) String() string { return [...]string{"bool", "int", "string", "duration", "map"}[k] }

// Value is one value.
type Value struct {
	Int  int64  // Bool: 1 or 0
	Text []byte // borrowed
}

// Attribute is something that expressions ask of a request.
type Attribute struct {
	Name string // "response.code"
	Key  string // of a header, lower case
	Kind Kind
}

// kinds are the attributes that there are, by Envoy's names.
func kinds() map[string]Kind {
	out := map[string]Kind{
		"response.code": Int, "response.grpc_status": Int, "request.size": Int, "response.size": Int,
		"source.port": Int, "destination.port": Int, "connection.mtls": Bool, "request.duration": Duration, "request.headers": headers, "response.headers": headers,
	}
	for _, name := range []string{"request.path", "request.url_path", "request.host", "request.method", "request.scheme", "request.protocol", "request.id",
		"request.referer", "request.useragent", "response.code_details", "connection.requested_server_name", "connection.termination_details",
		"source.address", "destination.address", "upstream.address", "upstream.transport_failure_reason", "xds.cluster_name", "xds.route_name"} {
		out[name] = Text
	}
	return out
}

// Names returns the names of all attributes, sorted.
func Names() []string {
	var out []string
	for name := range kinds() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Values knows what attributes are worth, by their place in Attributes; false: the request has none of that.
type Values interface {
	Value(attribute int) (Value, bool)
}

// Condition is an expression. It is immutable.
type Condition struct {
	Attributes []Attribute
	root       node
}

// Holds reports whether the expression is true. One that asks for what is not there is not, unless the answer does not depend on it.
func (c *Condition) Holds(v Values) bool { return c.root.eval(v) == yes }

// verdict is the value of a boolean expression.
type verdict uint8

const (
	no verdict = iota
	yes
	unknown // it asks for what is not there
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

type node interface{ eval(v Values) verdict }

// both and either take their second part into account also where the first is unknown, as CEL does.
type both struct{ a, b node }

func (n both) eval(v Values) verdict {
	a := n.a.eval(v)
	if a == no {
		return no
	}
	if b := n.b.eval(v); b != yes {
		return b
	}
	return a
}

type either struct{ a, b node }

func (n either) eval(v Values) verdict {
	a := n.a.eval(v)
	if a == yes {
		return yes
	}
	if b := n.b.eval(v); b != no {
		return b
	}
	return a
}

type not struct{ of node }

func (n not) eval(v Values) verdict {
	switch r := n.of.eval(v); r {
	case yes:
		return no
	case no:
		return yes
	default:
		return r
	}
}

// present asks whether an attribute is there.
type present int

func (n present) eval(v Values) verdict {
	_, ok := v.Value(int(n))
	return verdictOf(ok)
}

// operand is a constant or an attribute.
type operand struct {
	kind      Kind
	constant  Value
	attribute int // -1: constant
}

func (o operand) value(v Values) (Value, bool) {
	if o.attribute < 0 {
		return o.constant, true
	}
	return v.Value(o.attribute)
}

// truth is a boolean operand by itself.
type truth struct{ of operand }

func (n truth) eval(v Values) verdict {
	value, ok := n.of.value(v)
	if !ok {
		return unknown
	}
	return verdictOf(value.Int != 0)
}

// comparison compares two operands of one kind.
type comparison struct {
	a, b operand
	op   string
}

func (n comparison) eval(v Values) verdict {
	a, okA := n.a.value(v)
	b, okB := n.b.value(v)
	if !okA || !okB {
		return unknown
	}
	order := bytes.Compare(a.Text, b.Text)
	if n.a.kind != Text {
		order = int(max(min(a.Int-b.Int, 1), -1))
	}
	switch n.op {
	case "==":
		return verdictOf(order == 0)
	case "!=":
		return verdictOf(order != 0)
	case "<":
		return verdictOf(order < 0)
	case "<=":
		return verdictOf(order <= 0)
	case ">":
		return verdictOf(order > 0)
	}
	return verdictOf(order >= 0)
}

// among asks whether an operand is one of constants.
type among struct {
	of   operand
	list []operand
}

func (n among) eval(v Values) verdict {
	for _, o := range n.list {
		if r := (comparison{n.of, o, "=="}).eval(v); r != no {
			return r
		}
	}
	return no
}

// looks compares text by a function of CEL's.
type looks struct {
	of    operand
	how   string
	text  []byte
	regex *regexp.Regexp // matches
}

func (n looks) eval(v Values) verdict {
	value, ok := n.of.value(v)
	if !ok {
		return unknown
	}
	switch n.how {
	case "startsWith":
		return verdictOf(bytes.HasPrefix(value.Text, n.text))
	case "endsWith":
		return verdictOf(bytes.HasSuffix(value.Text, n.text))
	case "contains":
		return verdictOf(bytes.Contains(value.Text, n.text))
	}
	return verdictOf(n.regex.Match(value.Text))
}
