// Package forward takes one exchange from head to finish, whatever protocols carry it: prepare, match, filter, pick an
// upstream, forward, answer, record. http1 and http2 call it. It must not parse or write any wire format.
package forward

import (
	"log/slog"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Options are what a Proxy needs from outside.
type Options struct {
	Recorder exchange.Recorder
	Log      *slog.Logger
}

// Proxy serves exchanges. One value serves all connections.
type Proxy struct {
	opts Options
}

// New returns a Proxy.
func New(o Options) *Proxy { return &Proxy{opts: o} }

// Serve takes x through all its phases. The codec has filled x.Conn, Protocol, Start, Upgrade and Request (all fields but
// hop-by-hop ones) and resets x afterwards. When Serve returns, the response is written, or Downstream.Abort was called,
// and End was recorded. b must not be nil.
func (p *Proxy) Serve(x *exchange.Exchange, d exchange.Downstream, b *config.Bound) {
}

// Refuse answers a request that the codec could not make sense of (BadRequest, HeadTooLarge, RequestTimeout) and records
// it. The codec closes the connection afterwards.
func (p *Proxy) Refuse(x *exchange.Exchange, d exchange.Downstream, b *config.Bound, o exchange.Outcome) {
}
