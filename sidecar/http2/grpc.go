package http2

import (
	"strconv"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// failure fills gRPC trailers for a response that this proxy had to break off, and returns their status.
func failure(t *exchange.Head, o exchange.Outcome) int {
	code := o.GRPC()
	if code == 0 {
		code = 14
	}
	t.Add("grpc-status", strconv.Itoa(code))
	t.Add("grpc-message", o.Details())
	return code
}

// resetCode says why a response is broken off, to a client that has only the reset to go by.
func resetCode(o exchange.Outcome) http2.ErrCode {
	switch o {
	case exchange.Timeout, exchange.TryTimeout, exchange.IdleTimeout, exchange.DurationTimeout, exchange.UpstreamDuration, exchange.ClientGone, exchange.ClientReset:
		return http2.ErrCodeCancel
	case exchange.Drained, exchange.Revoked:
		return http2.ErrCodeNo
	case exchange.Overflow, exchange.ConnectionCap:
		return http2.ErrCodeEnhanceYourCalm
	}
	return http2.ErrCodeInternal
}
