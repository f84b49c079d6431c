// Package headers changes header fields by compiled operations whose values may name facts of the exchange. It must not
// touch pseudo headers; rewriting authority and path is the route's.
package headers

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
