package outlier

import (
	"sync/atomic"
	"time"
)

// Record is a host's. Whoever has it lets one at a time begin and end ejections; Ejected, Add and Release are for anybody.
type Record struct {
	Series
	ejected atomic.Bool
	times   uint32      // how often it was ejected lately
	until   time.Time   // end of the last ejection
	timer   *time.Timer // ends the ejection
}

// Ejected says whether the host is to be left alone.
func (r *Record) Ejected() bool { return r.ejected.Load() }

// Eject begins an ejection for at least the base time times the number of recent ones, and has over called at its end. Intervals begin at born.
func (r *Record) Eject(c *Config, born time.Time, over func()) {
	now := time.Now()
	if c.Interval > 0 && !r.until.IsZero() {
		// Each quiet interval since the last ejection takes one off.
		r.times -= min(r.times, uint32(min(now.Sub(r.until)/c.Interval, 1<<20)))
	}
	r.times++
	r.until = intervalEnd(born, now.Add(c.Lasts(r.times)), c.Interval)
	r.ejected.Store(true)
	r.timer = time.AfterFunc(r.until.Sub(now), over)
}

// intervalEnd is the end of the interval that t is in. Ejections end at one only, as in Envoy.
func intervalEnd(born, t time.Time, interval time.Duration) time.Time {
	if interval <= 0 {
		return t
	}
	if over := t.Sub(born) % interval; over > 0 {
		t = t.Add(interval - over)
	}
	return t
}

// Release ends an ejection, and says whether there was one. All series begin anew, as in Envoy: one that was not what had the host ejected may be near
// its limit.
func (r *Record) Release() bool {
	if !r.ejected.CompareAndSwap(true, false) {
		return false
	}
	r.Begin()
	return true
}

// End is Release before the time is over.
func (r *Record) End() bool {
	if r.timer == nil || !r.timer.Stop() { // it is over, or just about to be
		return false
	}
	r.until = time.Now()
	return r.Release()
}

// Forget is End, and has everything begin anew.
func (r *Record) Forget() bool {
	ended := r.End()
	r.Begin()
	r.times, r.until = 0, time.Time{}
	return ended
}
