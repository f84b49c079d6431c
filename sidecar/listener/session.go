// Package listener accepts connections, learns where they meant to go, looks at their first bytes, chooses their filter
// chain and hands them to a protocol. It must not know what protocols do, nor read configuration that is not in force.
package listener

import (
	"net"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Session is an accepted connection with a chosen chain: handshaken, judged by L4 filters, its protocol known.
type Session struct {
	Conn    net.Conn // after TLS, where the chain has it
	Peeked  []byte   // bytes already read from Conn, to be used first
	Facts   *exchange.Connection
	Binding *config.Binding
	Drain   *Drain
	Ends    time.Time // when the client is to be told to go; zero: at no time
	// Reconsider is set where the client had not spoken when the chain was chosen (an undeclared port): tcp calls it with
	// the client's first bytes when those come before the upstream's. Nil: the chain stays. Else the session belongs
	// elsewhere: the caller drops what it has, runs the result, and is done when that returns.
	Reconsider func(first []byte) (elsewhere func(), read []byte)

	open *session
}

// Old says whether the connection has been open for as long as it may.
func (s *Session) Old() bool { return !s.Ends.IsZero() && !time.Now().Before(s.Ends) }

// CanRest says whether the session is a Manager's, which would resume it.
func (s *Session) CanRest() bool { return s.open != nil }

// Rest has a session that can go on with resume once its server has returned, in a goroutine of its own: what waits needs less of a stack than what has
// served.
func (s *Session) Rest(resume func()) { s.open.next = resume }

// Server runs sessions of one protocol. http1, http2 and tcp implement it, engine introduces them.
type Server interface {
	// Serve runs the session to its end, and closes its connection; or until it rests.
	Serve(s *Session)
}

// Servers are the protocols that a Manager hands sessions to.
type Servers struct {
	HTTP1, HTTP2, TCP Server
}
