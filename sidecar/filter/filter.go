// Package filter is the contract of filters and their order. Filters judge exchanges and connections; they must not
// dial, keep state per request outside the exchange, log, or register metrics: they set outcomes.
package filter

import "github.com/heddle-mesh/heddle/sidecar/exchange"

// HTTP judges requests. One value serves every request of its chain, concurrently.
type HTTP interface {
	// Request runs after routing, before an upstream is picked (and also where no route matched, so that a refusal hides
	// which routes exist). exchange.OK lets the request go on; any other outcome ends it: the client gets the outcome's
	// row, or x.Reply and the fields already put into x.Response for LocalReply, FaultAbort and RateLimited.
	Request(x *exchange.Exchange) exchange.Outcome
}

// Responder is an HTTP filter that also touches response heads, local ones included, in reverse order.
type Responder interface {
	HTTP
	Response(x *exchange.Exchange)
}

// Heir is an HTTP filter that has from the same filter of the level around it, a virtual host say, what it does not say itself.
type Heir interface {
	HTTP
	Inherit(outer HTTP) HTTP
}

// Network judges connections, before anything is dialled or a request is read. It must give the same answer for the same
// facts, since open connections are judged again after a configuration change.
type Network interface {
	Connection(c *exchange.Connection) exchange.Outcome
}

// Named is an HTTP filter in its place.
type Named struct {
	Kind   Kind
	Filter HTTP
}

// Override replaces, on one route or virtual host, the chain's filter of a kind. A nil Filter switches it off. A chain
// must contain the kind for an override to have an effect.
type Override struct {
	Kind   Kind
	Filter HTTP
}
