// Package check is active health checks of hosts: how they are made, and what follows from them. It does not know clusters, balancers or pools, and when
// a check is due somebody else waits for.
package check

import (
	"math/rand/v2"
	"time"
)

// Kind says how hosts are checked.
type Kind uint8

// The kinds.
const (
	HTTP Kind = iota
	TCP
	GRPC // grpc.health.v1
)

// Config is active health checking, as Envoy's HealthCheck; a nil pointer means off. Hosts are out until a first check has passed.
type Config struct {
	Kind          Kind
	Timeout       time.Duration // of a check, connecting included
	Interval      time.Duration // between the end of a check and the next one
	FirstJitter   time.Duration // at most, before the first one
	Jitter        time.Duration // at most, added to each interval
	JitterPercent uint32        // at most, of each interval
	NoTraffic     time.Duration // the interval while the cluster has never been connected to for traffic
	NoTrafficFit  time.Duration // the same for hosts that are fit
	UnfitInterval time.Duration // the interval of hosts that are out
	UnfitEdge     time.Duration // the interval after a host was taken out
	FitEdge       time.Duration // the interval after a host was let in again
	UnfitAfter    uint32        // failures in a row; some take a host out at once
	FitAfter      uint32        // passes in a row; a host that was never checked needs one
	Reuse         bool          // keep the connection for the next check

	Authority string // HTTP and gRPC; empty: the cluster's name
	// HTTP
	HTTP2     bool
	Method    string
	Path      string
	Headers   [][2]string
	Expected  []StatusRange // fit
	Retriable []StatusRange // counted as a failure; any other status takes the host out at once
	// TCP
	Send    []byte
	Receive [][]byte // all of them, in this order
	// gRPC
	Service string
}

// StatusRange is [From, To).
type StatusRange struct{ From, To int }

func within(ranges []StatusRange, status int) bool {
	for _, r := range ranges {
		if status >= r.From && status < r.To {
			return true
		}
	}
	return false
}

// Result is how a check ended.
type Result uint8

// The results.
const (
	Pass    Result = iota
	Lost           // no answer, or one that may be tried again: counted
	Refused        // the host says that it is not fit: out at once
)

// Record is what checks have found of a host.
type Record struct {
	again    bool   // not the first check
	failures uint32 // in a row, of a host that is fit
	passes   uint32 // in a row, of one that is not
}

// Judge takes a check's result for a host that is sick or not, and says what it is now.
func (r *Record) Judge(c *Config, sick bool, got Result) (now bool) {
	first := !r.again
	r.again = true
	switch {
	case got == Pass:
		r.failures = 0
		if r.passes++; sick && (first || r.passes >= c.FitAfter) {
			return false
		}
		return sick
	default:
		r.passes = 0
		if r.failures++; !sick && (got == Refused || r.failures >= c.UnfitAfter) {
			return true
		}
		return sick
	}
}

// Pause is how long to wait until the next check of a host that is sick or not. changed: it is so since the last one.
func (c *Config) Pause(sick, changed, busy bool) time.Duration {
	d := c.Interval
	switch {
	case !busy && !sick:
		d = c.NoTrafficFit
	case !busy:
		d = c.NoTraffic
	case sick && changed:
		d = c.UnfitEdge
	case sick:
		d = c.UnfitInterval
	case changed:
		d = c.FitEdge
	}
	if c.JitterPercent > 0 {
		d += UpTo(d * time.Duration(c.JitterPercent) / 100)
	}
	return max(d+UpTo(c.Jitter), time.Millisecond)
}

// UpTo is a random duration of at most d.
func UpTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d + 1)
}
