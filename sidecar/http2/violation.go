package http2

import (
	"strings"

	"golang.org/x/net/http2"
)

// connError ends the connection with a GOAWAY.
type connError struct {
	code http2.ErrCode
	why  string
}

func (e connError) Error() string { return "http2: " + e.code.String() + ": " + e.why }

func violation(why string) error { return connError{http2.ErrCodeProtocol, why} }
func flood(of string) error      { return connError{http2.ErrCodeEnhanceYourCalm, of} }

// What a peer has sent too much of, and the one violation that has a name of its own. They are labels of a metric.
const (
	controlFlood      = "control_flood" // PRIORITY, RST_STREAM on closed streams, unknown frames
	settingsFlood     = "settings_flood"
	pingFlood         = "ping_flood"
	goAwayFlood       = "goaway_flood"
	windowUpdateFlood = "window_update_flood"
	emptyDataFlood    = "empty_data_flood"
	headersFlood      = "headers_flood" // on streams that are closed, or of interim responses
	continuationFlood = "continuation_flood"
	rapidReset        = "rapid_reset" // streams opened for nothing: reset at once, made to be reset, malformed, beyond the limit
	unreadReplies     = "unread_replies"
	noPreface         = "no_preface"
)

// reason is the error as a metric's label, of which there are few: floods by their kind, all else by its code (RFC 9113, 7).
func (e connError) reason() string {
	if e.code == http2.ErrCodeEnhanceYourCalm || e.why == noPreface {
		return "http2." + e.why
	}
	return byCode(e.code)
}

func byCode(code http2.ErrCode) string { return "http2." + strings.ToLower(code.String()) }
