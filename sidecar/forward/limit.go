package forward

import (
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

const grpcTimeout = "grpc-timeout"

// limit is the time that the request may take from its end on; 0: any.
func (r *run) limit() time.Duration {
	switch g := r.route.GRPC; {
	case r.asked:
		return 0
	case g == nil || !g.Calls || !r.x.GRPC:
		return r.route.Timeout
	default:
		asked, _ := parseGRPCTimeout(r.x.Request.Get(grpcTimeout))
		if g.Offset < asked {
			asked -= g.Offset
		}
		return capped(asked, g.Max)
	}
}

// said is how long the exchange may last because its client says so, which takes the place of what the route says; false: the client says nothing that counts. That
// is not the route's timeout: as in Envoy, an end that a client has asked for is no failure of the host. A client that asks for no less than the route's own
// timeout has that one.
func (r *run) said() (time.Duration, bool) {
	if r.route == nil || r.route.GRPC == nil || r.route.GRPC.Calls {
		return 0, false
	}
	g := r.route.GRPC
	asked, ok := parseGRPCTimeout(r.x.Request.Get(grpcTimeout))
	if !ok || g.Max > 0 && g.Max == r.route.Timeout && (asked == 0 || asked >= g.Max) {
		return 0, false
	}
	if asked == 0 {
		return capped(r.longest(), g.Max), true
	}
	if asked = capped(asked, g.Max); g.Offset > 0 {
		asked = max(1, asked-g.Offset) // not 0, which is any time
	}
	return asked, true
}

// capped is a limit, 0: none, that is at most most, 0: any.
func capped(limit, most time.Duration) time.Duration {
	if most > 0 && (limit > most || limit == 0) {
		return most
	}
	return limit
}

// tellCall tells the server of a call no longer a time than the try has. What the whole exchange has is told from its beginning on, as in Envoy.
func (r *run) tellCall() {
	g := r.route.GRPC
	if !r.x.GRPC || g == nil && r.route.MaxStream == nil {
		return
	}
	left := time.Duration(0)
	if g != nil {
		left = r.left()
	}
	if g == nil || !g.Calls {
		left = capped(left, r.most)
	}
	if left != 0 {
		h := &r.x.Request
		h.SetView(grpcTimeout, h.Append(func(dst []byte) []byte { return appendGRPCTimeout(dst, left) }))
	}
}

// appendGRPCTimeout writes a time with the smallest unit, from microseconds on, of which 8 digits are enough; whole milliseconds as such, as Envoy does.
func appendGRPCTimeout(dst []byte, d time.Duration) []byte {
	n, unit := max(1, d.Microseconds()), byte('u')
	for _, next := range []struct {
		unit byte
		of   int64
	}{{'m', 1000}, {'S', 1000}, {'M', 60}, {'H', 60}} {
		if n < 100_000_000 && (next.unit != 'm' || n%1000 != 0) {
			break
		}
		n, unit = n/next.of, next.unit
	}
	return append(strconv.AppendInt(dst, n, 10), unit)
}

// parseGRPCTimeout reads "<up to 8 digits><unit>".
func parseGRPCTimeout(v exchange.View) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	n := time.Duration(0)
	for _, c := range v[:len(v)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + time.Duration(c-'0')
	}
	switch v[len(v)-1] {
	case 'H':
		return min(n, 100_000) * time.Hour, true
	case 'M':
		return n * time.Minute, true
	case 'S':
		return n * time.Second, true
	case 'm':
		return n * time.Millisecond, true
	case 'u':
		return n * time.Microsecond, true
	case 'n':
		return n, true
	}
	return 0, false
}
