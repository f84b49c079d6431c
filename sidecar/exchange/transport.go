package exchange

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Protocol is a wire protocol.
type Protocol uint8

// The protocols.
const (
	TCP Protocol = iota
	HTTP10
	HTTP1
	HTTP2
)

// String prints the protocol as %PROTOCOL% does.
func (p Protocol) String() string {
	return [...]string{"-", "HTTP/1.0", "HTTP/1.1", "HTTP/2"}[p]
}

// What a Stream's or a Transport's methods fail with, so that retry policies need no knowledge of the protocol. Other
// errors may wrap them; compare with errors.Is, or with == on the hot path: implementations return them bare.
var (
	ErrReset    = errors.New("connection closed by peer")                     // the peer closed before the message was complete
	ErrUnsent   = errors.New("connection closed before the request was sent") // nothing was sent: any request may be sent again
	ErrRefused  = errors.New("stream refused by peer")                        // certainly not processed: REFUSED_STREAM, GOAWAY beyond us, or no stream left
	ErrUnfit    = errors.New("message does not fit the peer's protocol")      // we cannot put the request into what the peer speaks: nothing was sent, and the peer is not to blame
	ErrProtocol = errors.New("malformed message")                             // the peer broke the protocol; the transport will not be used again
	ErrTimeout  = errors.New("deadline exceeded")                             // the deadline set by SetDeadline passed
	ErrAborted  = errors.New("aborted")                                       // Abort was called
	ErrSession  = errors.New("the session is over")                           // of TLS: it was resumed, and what was proven in it does not hold any more; a new connection begins a new one
	ErrTooLarge = errors.New("head too large")                                // the peer's head exceeds the limits

	ErrStreamReset = errors.New("stream reset by peer") // the peer gave up this one exchange, before the message was complete
	// ErrStreamProtocol is an ErrStreamReset by a peer that takes what we sent for malformed.
	ErrStreamProtocol = fmt.Errorf("%w with a protocol error", ErrStreamReset)
)

// Transport is one established upstream connection that carries exchanges: one at a time (HTTP/1) or many (HTTP/2).
// http1 and http2 implement it, upstream pools it.
type Transport interface {
	// Open takes a place on the transport for one exchange. ErrRefused where there is none (any more).
	Open() (Stream, error)
	// Slots returns how many exchanges it may carry at a time, by what the peer has said so far; at least 1.
	Slots() int
	// Usable says whether an idle transport may be used again, as far as is known without looking: false where the peer has closed it or
	// announced that it goes away. It does not block.
	Usable() bool
	// Alive is Usable after a look at the idle connection: anything to read, be it the end, and it is not.
	Alive() bool
	// Info returns the connection's facts: addresses and, where it is secured, what the handshake proved.
	Info() *TransportInfo
	// Drain lets exchanges in flight finish, takes no new ones and then closes.
	Drain()
	// Close closes at once; streams in flight fail with ErrReset.
	Close() error
}

// TransportInfo is what is known of an upstream connection.
type TransportInfo struct {
	Protocol  Protocol
	Local     netip.AddrPort // zero where it is not of TCP
	Security  *Security      // nil: plaintext
	Keepalive Keepalive      // of HTTP/2
	// MaxHead is how many bytes a response's head may have, MaxHeaders how many fields; 0: 60 KiB and 100.
	MaxHead, MaxHeaders int
	// Grown, where it is set, is called when Slots has grown.
	Grown func()
}

// Keepalive asks the peer of a connection now and then whether it is still there. The zero Keepalive does not.
type Keepalive struct {
	Interval time.Duration // between an answer and the next question; up to 15 % more, at random
	Timeout  time.Duration // a peer that has said nothing for so long after a question is given up
}

// Stream is one exchange's half of an upstream transport. Writes are buffered until Flush or until end. One goroutine
// writes and one, possibly another, reads; SetDeadline and Abort may be called by any.
type Stream interface {
	// SetDeadline bounds every later (and pending) call; zero means none.
	SetDeadline(time.Time)
	// WriteHead sends a request head. end: neither body nor trailers follow. The codec adds its own framing: for HTTP/1
	// host, connection, transfer-encoding; it never changes h.
	WriteHead(h *Head, end bool) error
	WriteBody(p []byte, end bool) error
	// WriteTrailers ends the request with trailers.
	WriteTrailers(t *Head) error
	Flush() error
	// ReadHead waits for the next response head, interim ones (1xx but 101) included, and fills h, which stays valid
	// until Close. end: no body follows.
	ReadHead(h *Head) (end bool, err error)
	// ReadBody waits for the next piece of the body, valid until the next call. end: it was the last one (it may be
	// empty); trailers, if any, are then to be had from ReadTrailers.
	ReadBody() (p View, end bool, err error)
	// ReadTrailers fills t after the body's end; it does not block, and leaves t empty where there were none.
	ReadTrailers(t *Head)
	// Buffered says whether the next ReadBody would return without waiting for the network.
	Buffered() bool
	// Abort makes pending and later calls fail with ErrAborted, and the peer see a reset.
	Abort()
	// Close gives the place back. The transport decides whether it can be used again: not unless both messages are
	// complete.
	Close()
	// Reusable says, before Close, whether the transport will be fit for another exchange after it.
	Reusable() bool
}

// Downstream is the client's half of an exchange. http1 and http2 implement it, forward drives it: it writes
// Exchange.Response. Writes are buffered until Flush or until end. ReadBody may be called by a second goroutine while
// the first one writes.
type Downstream interface {
	// BodyBuffered returns what has arrived of the request body without waiting, and whether that is all of it (and no
	// trailers follow), so that small requests need no second goroutine and can be sent again. It stays valid until the
	// exchange finishes, and takes nothing away from ReadBody unless whole.
	BodyBuffered() (p View, whole bool)
	// ReadBody waits for the next piece of the request body, valid until the next call. end: the last one.
	ReadBody() (p View, end bool, err error)
	// WriteInterim sends a 1xx response at once (100, 103; 101 goes through WriteHead).
	WriteInterim(h *Head) error
	// WriteHead sends Exchange.Response; end: no body follows.
	WriteHead(end bool) error
	WriteBody(p []byte, end bool) error
	WriteTrailers(t *Head) error
	Flush() error
	// Watch begins to notice a client that gives up (it calls Exchange.Cancel); Unwatch ends it. forward calls them
	// around each wait for a response whose request is complete, and around each write of a piece of the body, which stays
	// valid. They must cost next to nothing when the wait is short.
	Watch()
	Unwatch()
	// StopBody makes a pending ReadBody of another goroutine return with ErrAborted: the answer came before the
	// request's end.
	StopBody()
	// Abort ends an exchange whose response has begun and cannot be completed: a reset, or the connection's end.
	Abort()
}

// Recorder is telemetry's seam. forward and tcp call it; it must not block, and must not keep what it is given.
type Recorder interface {
	// Begin runs after the request's head is prepared and matched, before filters: it may read and write trace headers
	// of x.Request and x.Trace.
	Begin(x *Exchange)
	// End runs exactly once per request, last.
	End(x *Exchange)
	// Opened runs once per TCP connection, when its upstream is known or refused.
	Opened(c *Connection)
	// Progress runs now and then while a TCP connection is open, with the bytes since the last call.
	Progress(c *Connection, received, sent int64)
	// Closed runs exactly once per TCP connection, last, with the bytes since the last Progress.
	Closed(c *Connection, received, sent int64)
	// Refused runs once per connection that no filter chain has served; its Outcome says why.
	Refused(c *Connection)
	// Malformed counts what a client sent against its protocol where no exchange's end tells of it; reason is one of few constants.
	Malformed(reason string)
	// Panicked counts a recovered panic.
	Panicked()
}
