package exchange

import (
	"net/netip"
	"sync"
	"time"
)

// Trace is an exchange's place in a trace; telemetry owns its meaning.
type Trace struct {
	TraceID  [16]byte
	SpanID   [8]byte // the span of this proxy
	ParentID [8]byte // zero: none
	Sampled  bool
	Renamed  bool // Exchange.Operation is what the caller calls it
}

// DecoratorOperation is the field by which traced proxies tell each other what their routes call what is done.
const DecoratorOperation = "x-envoy-decorator-operation"

// Reply is an answer of this proxy's own, for outcomes LocalReply, FaultAbort, RateLimited and NoCluster. Further fields go to
// Exchange.Response before the outcome is returned.
type Reply struct {
	Status int // 0: the outcome's own
	Body   []byte
	Type   string // content-type; empty means text/plain
	GRPC   *int   // grpc-status for gRPC clients; nil: what the status or the outcome stands for
}

// Exchange is one request in flight. Its codec owns it, resets it and uses it again; everything reachable from it is
// borrowed and ends with it. One goroutine uses it, but for Cancel.
type Exchange struct {
	Conn     *Connection
	Protocol Protocol // downstream's
	GRPC     bool     // content-type application/grpc*
	Upgrade  View     // value of an upgrade request ("websocket"), or nil
	Request  Head     // as filters have made it so far; valid until End
	Trailers Head     // request trailers, complete after the body's end
	Response Head     // valid until End
	Reply    Reply
	Outcome  Outcome
	Flags    Flag
	Details  string // overrides Outcome.Details; preallocated by whoever sets it
	Trace    Trace

	Remote       netip.Addr // client address after X-Forwarded-For trust; Conn.Source's where there is none
	OriginalPath View       // path before a rewrite, or nil
	RouteName    string
	Operation    string // what the route calls what is done, for spans; empty: nothing
	VirtualHost  string
	Upstream     Upstream
	Attempts     int // tries begun
	GRPCStatus   int // grpc-status of the response, -1 where none

	Received int64 // request body bytes
	Sent     int64 // response body bytes

	Stall         time.Duration // the client is given up where it takes nothing of the response for that long, or somewhat longer; 0: never
	Start         time.Time
	RequestEnd    time.Time // the upstream had the whole request; zero: never
	FirstByte     time.Time // response head from upstream; zero: none
	End           time.Time
	UpstreamStart time.Time // the first try's beginning; zero: none

	Delay time.Duration // set by the fault filter: forward waits that long before the next filter
	// Bridge is set by a filter that translates bodies: forward speaks with what it makes of the client's half.
	Bridge func(Downstream) Downstream
	Quiet  bool // the forwarding adds no x-envoy-* fields
	Pin    Pin

	Work     any // forward's own memory, kept from one request to the next
	Recorded any // the recorder's

	mu       sync.Mutex
	canceled bool
	quit     bool // by the client, who reset the stream
	stream   Stream
	wake     chan struct{}
}

// Pin is the endpoint that a client wants to stay with.
type Pin struct {
	On      bool   // somebody keeps this client's requests together
	Address string // as Endpoint.Key says it; empty: any will do
	Strict  bool   // none but that one will do
}

// Now is the time, as far from Start as the monotonic clock says: it costs half of what time.Now does, which reads another one, too.
func (x *Exchange) Now() time.Time {
	if x.Start.IsZero() {
		return time.Now()
	}
	return x.Start.Add(time.Since(x.Start))
}

// Reset readies the exchange for the next request on c and keeps its memory.
func (x *Exchange) Reset(c *Connection) {
	x.Request.Reset()
	x.Trailers.Reset()
	x.Response.Reset()
	x.Conn, x.Protocol, x.GRPC, x.Upgrade = c, 0, false, nil
	x.Reply, x.Outcome, x.Flags, x.Details, x.Trace = Reply{}, OK, 0, "", Trace{}
	x.Remote, x.OriginalPath, x.RouteName, x.Operation, x.VirtualHost = c.Source.Addr(), nil, "", "", ""
	x.Upstream, x.Attempts, x.GRPCStatus = Upstream{}, 0, -1
	x.Received, x.Sent, x.Stall = 0, 0, 0
	x.Start, x.RequestEnd, x.FirstByte, x.End, x.UpstreamStart = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	x.Delay, x.Bridge, x.Quiet, x.Pin = 0, nil, false, Pin{}
	x.mu.Lock()
	x.canceled, x.quit, x.stream, x.wake = false, false, nil, nil
	x.mu.Unlock()
}

// Fail notes how the exchange ended; flags add up, the outcome is the last one.
func (x *Exchange) Fail(o Outcome) Outcome {
	x.Outcome = o
	x.Flags |= o.Flag()
	return o
}

// Text returns %RESPONSE_CODE_DETAILS%.
func (x *Exchange) Text() string {
	if x.Details != "" {
		return x.Details
	}
	return x.Outcome.Details()
}

// Attach names the stream that Cancel must abort; false where the exchange is canceled already.
func (x *Exchange) Attach(s Stream) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stream = s
	return !x.canceled
}

// Detach forgets the stream.
func (x *Exchange) Detach() {
	x.mu.Lock()
	x.stream = nil
	x.mu.Unlock()
}

// Cancel notes that the client gave up, aborts the upstream stream and ends a Wait. Any goroutine may call it while the
// exchange is alive.
func (x *Exchange) Cancel() { x.cancel(false) }

// Quit is Cancel for a client that reset the stream, and whose connection stays.
func (x *Exchange) Quit() { x.cancel(true) }

func (x *Exchange) cancel(quit bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.canceled {
		return
	}
	x.canceled, x.quit = true, quit
	if x.stream != nil {
		x.stream.Abort()
	}
	if x.wake != nil {
		close(x.wake)
	}
}

// Canceled says whether the client gave up.
func (x *Exchange) Canceled() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.canceled
}

// Gone says why the exchange has ended that still had something to do: the client reset the stream, or what its connection says.
func (x *Exchange) Gone() Outcome {
	x.mu.Lock()
	quit := x.quit
	x.mu.Unlock()
	if quit {
		return ClientReset
	}
	return x.Conn.Gone()
}

// Wait sleeps for d; false where the client gave up meanwhile.
func (x *Exchange) Wait(d time.Duration) bool {
	wake := x.Done()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-wake:
		return false
	}
}

// Done returns a channel that closes when the client gives up. It allocates: for slow paths only.
func (x *Exchange) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.wake == nil {
		x.wake = make(chan struct{})
		if x.canceled {
			close(x.wake)
		}
	}
	return x.wake
}
