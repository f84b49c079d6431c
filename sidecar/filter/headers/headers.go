// Package headers changes header fields by compiled operations whose values may name facts of the exchange. It must not
// touch pseudo headers; rewriting authority and path is the route's.
package headers

import (
	"fmt"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/format"
)

// Op is one value to add.
type Op struct {
	Name   string // lower case
	Value  string // with Envoy's %OPERATORS%
	Action Action
}

// Action says what to do where the field exists.
type Action uint8

// The actions.
const (
	Append    Action = iota // one more line
	Overwrite               // set
	IfAbsent                // only where it is missing
	Replace                 // only where it exists
)

// Config is what to do to a head, removals first.
type Config struct {
	Remove []string
	Add    []Op
}

// Ops is a compiled Config. A nil *Ops does nothing.
type Ops struct {
	remove []string
	add    []op
}

type op struct {
	name   string
	view   exchange.View // the name again, shared by all heads and never written
	action Action
	value  *format.Format
	always exchange.View // what the value always is, as shared as the name; nil: it names facts
}

// New compiles c, nil where there is nothing to do. Its error names the field that is wrong.
func New(c Config) (*Ops, error) {
	if len(c.Remove) == 0 && len(c.Add) == 0 {
		return nil, nil
	}
	o := &Ops{}
	for i, name := range c.Remove {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("remove[%d]: %w", i, err)
		}
		o.remove = append(o.remove, strings.ToLower(name))
	}
	for i, a := range c.Add {
		if err := checkName(a.Name); err != nil {
			return nil, fmt.Errorf("add[%d].name: %w", i, err)
		}
		if strings.ContainsAny(a.Value, "\r\n\x00") {
			return nil, fmt.Errorf("add[%d].value: control bytes", i)
		}
		value, err := format.New(a.Value, "")
		if err != nil {
			return nil, fmt.Errorf("add[%d].value: %w", i, err)
		}
		name := strings.ToLower(a.Name)
		o.add = append(o.add, op{name: name, view: exchange.View(name), action: a.Action, value: value})
		if value.Static() {
			o.add[len(o.add)-1].always = printable(value.Append(nil, nil), 0)
		}
	}
	return o, nil
}

// checkName refuses what operations may not touch: pseudo headers, the host, and names that are no tokens.
func checkName(name string) error {
	if name == "" || name[0] == ':' || strings.EqualFold(name, "host") {
		return fmt.Errorf("%q may not be changed by header operations", name)
	}
	for i := range len(name) {
		if !exchange.TokenByte(name[i]) {
			return fmt.Errorf("%q is not a header name", name)
		}
	}
	return nil
}

// Apply does the operations on h, with facts from x. A value that turns out empty is not added.
func (o *Ops) Apply(h *exchange.Head, x *exchange.Exchange) {
	if o == nil {
		return
	}
	for _, name := range o.remove {
		h.Remove(name)
	}
	for i := range o.add {
		o.add[i].apply(h, x)
	}
}

func (o *op) apply(h *exchange.Head, x *exchange.Exchange) {
	switch {
	case o.action == IfAbsent && h.Has(o.name), o.action == Replace && !h.Has(o.name):
		return
	}
	value := o.always
	if value == nil {
		value = h.Append(func(dst []byte) []byte {
			n := len(dst)
			return printable(o.value.Append(dst, x), n)
		})
	}
	if len(value) == 0 {
		return
	}
	if o.action == Overwrite || o.action == Replace {
		h.SetView(o.name, value)
		return
	}
	h.AddView(o.view, value)
}

// printable takes control bytes out of what begins at n: facts such as a certificate's subject may contain anything, and
// must not break the header that they go into.
func printable(dst []byte, n int) []byte {
	out := dst[:n]
	for _, c := range dst[n:] {
		if c >= ' ' && c != 0x7f {
			out = append(out, c)
		}
	}
	return out
}
