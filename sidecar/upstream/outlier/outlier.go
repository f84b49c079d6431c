// Package outlier counts a host's failures, for passive health checking.
package outlier

import (
	"sync/atomic"
	"time"
)

// Config says when a host is ejected, and for how long.
type Config struct {
	Consecutive5xx     uint32 // 0: off
	ConsecutiveGateway uint32 // 502, 503, 504 and local failures; 0: off
	SplitLocal         bool   // local failures count only towards ConsecutiveLocal
	ConsecutiveLocal   uint32
	Interval           time.Duration
	BaseEjection       time.Duration
	MaxEjection        time.Duration
	MaxEjectionPercent uint32 // of the hosts, rounded down
	AlwaysOne          bool   // one host may be ejected whatever MaxEjectionPercent says
}

// Equal says whether both, which may be nil, say the same.
func (c *Config) Equal(other *Config) bool {
	return c == other || c != nil && other != nil && *c == *other
}

// Result is how a try ended.
type Result uint8

// The results.
const (
	Good      Result = iota
	Gateway          // 502, 503 or 504 answered
	Server           // another 5xx answered
	Local            // no answer: connecting failed, reset, timeout
	Connected        // no end: the try has its connection
)

// Series are consecutive failures.
type Series struct{ fives, gateway, local atomic.Uint32 }

// Begin has all of them begin anew.
func (s *Series) Begin() { reset(&s.fives, &s.gateway, &s.local) }

// Add adds a try's end, and says whether the host is to be ejected now. As in Envoy, a connection alone ends the series of local failures where these count apart: what
// follows it can complete a series of one.
func (s *Series) Add(c *Config, r Result) bool {
	if r == Connected {
		if c.SplitLocal {
			reset(&s.local)
		}
		return false
	}
	if r == Good {
		s.Begin()
		return false
	}
	if r == Local && c.SplitLocal {
		return hit(&s.local, c.ConsecutiveLocal)
	}
	if c.SplitLocal {
		reset(&s.local)
	}
	bad := hit(&s.fives, c.Consecutive5xx)
	if r == Server {
		reset(&s.gateway)
		return bad
	}
	return hit(&s.gateway, c.ConsecutiveGateway) || bad
}

func reset(counts ...*atomic.Uint32) {
	for _, c := range counts {
		if c.Load() != 0 {
			c.Store(0)
		}
	}
}

// hit counts one more failure and says whether the limit (0: off) is reached, which starts the count anew.
func hit(count *atomic.Uint32, limit uint32) bool {
	if n := count.Add(1); limit == 0 || n < limit {
		return false
	}
	count.Store(0)
	return true
}

// Lasts is how long the nth ejection lasts, of those that followed each other soon.
func (c *Config) Lasts(n uint32) time.Duration {
	d := c.BaseEjection * time.Duration(n)
	if limit := max(c.MaxEjection, c.BaseEjection); c.MaxEjection > 0 && d > limit {
		return limit
	}
	return d
}
