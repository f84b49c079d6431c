package check

import (
	"strings"
	"testing"
	"time"
)

// TestJudge follows a host through checks: + passes, - fails, ! says that it is not fit. After each, f is fit and s is sick.
func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		checks, want string
	}{
		"the first pass is enough":            {"+", "f"},
		"a first failure is no verdict":       {"-++", "ssf"},
		"passes must be in a row":             {"-+-++", "ssssf"},
		"failures must be in a row":           {"+--+---", "ffffffs"},
		"what the host says counts at once":   {"+!", "fs"},
		"out at once, in after two":           {"+!++", "fssf"},
		"a failure after it is in is one":     {"+!++-", "fssff"},
		"what was counted is counted no more": {"+---++--", "fffssfff"},
	} {
		r, sick := Record{}, true
		var got strings.Builder
		for _, check := range c.checks {
			sick = r.Judge(&Config{UnfitAfter: 3, FitAfter: 2}, sick, map[rune]Result{'+': Pass, '-': Lost, '!': Refused}[check])
			got.WriteByte(map[bool]byte{false: 'f', true: 's'}[sick])
		}
		if got.String() != c.want {
			t.Errorf("%s: %s gives %s, want %s", name, c.checks, got.String(), c.want)
		}
	}
}

func TestPause(t *testing.T) {
	c := Config{Interval: 1 * time.Second, NoTraffic: 2 * time.Second, NoTrafficFit: 3 * time.Second, UnfitInterval: 4 * time.Second,
		UnfitEdge: 5 * time.Second, FitEdge: 6 * time.Second}
	for name, w := range map[string]struct {
		sick, changed, busy bool
		want                time.Duration
	}{
		"fit": {false, false, true, 1}, "sick": {true, false, true, 4}, "just sick": {true, true, true, 5}, "just fit": {false, true, true, 6},
		"no traffic, sick": {true, false, false, 2}, "no traffic, fit": {false, true, false, 3},
	} {
		if got := c.Pause(w.sick, w.changed, w.busy); got != w.want*time.Second {
			t.Errorf("%s: %v", name, got)
		}
	}
	c.Jitter, c.JitterPercent = time.Second, 50
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := c.Pause(false, false, true)
		low, high = min(low, d), max(high, d)
	}
	if low < time.Second || low > 1200*time.Millisecond || high > 2500*time.Millisecond || high < 2200*time.Millisecond {
		t.Errorf("between %v and %v", low, high)
	}
}
