package forward

import (
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

const grpcTimeout = "grpc-timeout"

// limit is the time that the request may take from its end on; 0: any.
func (r *run) limit() time.Duration {
	t, g := r.route.Timeout, r.route.GRPC
	if g == nil || g.Calls && !r.x.GRPC {
		return t
	}
	asked, ok := parseGRPCTimeout(r.x.Request.Get(grpcTimeout))
	switch {
	case g.Calls:
		if g.Offset < asked {
			asked -= g.Offset
		}
		return capped(asked, g.Max)
	case !ok:
		return t
	}
	if asked = capped(asked, g.Max); asked > 0 && g.Offset > 0 {
		asked = max(1, asked-g.Offset) // not 0, which is any time
	}
	return asked
}

// capped is a limit, 0: none, that is at most most, 0: any.
func capped(limit, most time.Duration) time.Duration {
	if most > 0 && (limit > most || limit == 0) {
		return most
	}
	return limit
}

// tellCall tells the server of a call no longer a time than the try has.
func (r *run) tellCall() {
	if !r.x.GRPC || r.route.GRPC == nil {
		return
	}
	if left := r.left(); left != 0 {
		h := &r.x.Request
		h.SetView(grpcTimeout, h.Append(func(dst []byte) []byte { return appendGRPCTimeout(dst, left) }))
	}
}

// appendGRPCTimeout writes a time with the smallest unit, from microseconds on, of which 8 digits are enough.
func appendGRPCTimeout(dst []byte, d time.Duration) []byte {
	n, unit := max(1, d.Microseconds()), byte('u')
	for _, next := range []struct {
		unit byte
		of   int64
	}{{'m', 1000}, {'S', 1000}, {'M', 60}, {'H', 60}} {
		if n < 100_000_000 {
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
