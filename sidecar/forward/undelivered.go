package forward

import "github.com/heddle-mesh/heddle/sidecar/exchange"

// A proxy that could not connect to its application says so to the proxy that asked, in the field that RFC 9209 has for it: nothing of the
// request was delivered, and that proxy may treat it as a connection to this endpoint that failed. Without it a rolling restart shows: an
// application closes its port before the last client has learned that it goes.
const (
	proxyStatus = "proxy-status"
	undelivered = "heddle; error=connection_refused"
)

// confess marks an answer to another proxy of the mesh where no try got as far as a connection.
func (r *run) confess(o exchange.Outcome) {
	x := r.x
	failed := o == exchange.ConnectFailure || o == exchange.ConnectTimeout
	if failed && !r.connected && x.Conn.Via.Direction == exchange.Inbound && x.Conn.Peer() != nil {
		x.Response.Set(proxyStatus, undelivered)
	}
}

// refused says whether the response is the mark of a proxy of the mesh beside an application that was not reached.
func refused(x *exchange.Exchange) bool {
	s := x.Upstream.Security
	return x.Response.Status == 503 && s != nil && s.Mutual && x.Response.Get(proxyStatus).Is(undelivered)
}
