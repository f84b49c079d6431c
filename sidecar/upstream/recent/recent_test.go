package recent

import (
	"sync"
	"testing"
	"time"
)

// TestWithin: what began counts for the whole interval and for no more than a sixteenth of it longer, whoever counts beside it.
func TestWithin(t *testing.T) {
	const interval = 160 * time.Millisecond
	var c Count
	begin := time.Unix(1700000000, 7)
	if got := c.Within(begin, interval); got != 0 {
		t.Errorf("%d before anything began", got)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				c.Add(begin, interval)
			}
		})
	}
	all.Wait()
	c.Add(begin.Add(interval/2), interval)
	for _, s := range []struct {
		after time.Duration
		want  int64
	}{
		{interval / 2, 401}, {interval, 401}, {interval + interval/parts, 1}, {interval + interval/2, 1}, {interval + interval/2 + interval/parts, 0}, {time.Hour, 0},
	} {
		if got := c.Within(begin.Add(s.after), interval); got != s.want {
			t.Errorf("after %v: %d, want %d", s.after, got, s.want)
		}
	}
}

// TestShortInterval: an interval that cannot be divided is counted in pieces of a nanosecond.
func TestShortInterval(t *testing.T) {
	var c Count
	now := time.Unix(1700000000, 0)
	c.Add(now, 1)
	if c.Within(now, 1) != 1 || c.Within(now.Add(time.Millisecond), 1) != 0 {
		t.Error("an interval of a nanosecond does not end")
	}
}
