package http2

import (
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// alarm counts what goes wrong on connections: panics that were recovered, each of which costs one connection and is reported, and what clients do wrong.
type alarm struct {
	recorder exchange.Recorder
	log      *slog.Logger
}

func (a alarm) ring(v any) {
	if a.recorder != nil {
		a.recorder.Panicked()
	}
	if a.log != nil {
		a.log.Error("recovered from a panic on an HTTP/2 connection", "panic", v, "stack", string(debug.Stack()))
	}
}

// malformed counts what a client did against the protocol.
func (a alarm) malformed(reason string) {
	if a.recorder != nil {
		a.recorder.Malformed(reason)
	}
}

var errPanicked = errors.New("panic while reading")

// guard is deferred by what timers run: a panic costs the connection.
func (c *conn) guard() {
	if v := recover(); v != nil {
		c.alarm.ring(v)
		_ = c.nc.Close() // the reader notices
	}
}

// readSafely is read, with a panic made an error.
func (c *conn) readSafely() (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.alarm.ring(v)
			err = errPanicked
		}
	}()
	return c.read()
}
