package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestRetryBudget: a budget replaces the limit of retries, and a share of nothing is its minimum, not everything.
func TestRetryBudget(t *testing.T) {
	for name, c := range map[string]struct {
		budget RetryBudget
		active int64
		want   int
	}{
		"no share":              {RetryBudget{Percent: 0, Min: 3}, 100, 3},
		"nothing at all":        {RetryBudget{}, 100, 0},
		"a share":               {RetryBudget{Percent: 20, Min: 3}, 50, 10},
		"the minimum is more":   {RetryBudget{Percent: 20, Min: 3}, 5, 3},
		"more than the limit's": {RetryBudget{Percent: 100}, 20, 20},
	} {
		cluster := live(Config{Limits: Limits{Retries: 1, Budget: &c.budget}}, endpoint(a))
		cluster.requests.Add(c.active)
		got := 0
		for got <= c.want && cluster.BeginRetry() {
			got++
		}
		if got != c.want {
			t.Errorf("%s: %d retries at once, want %d", name, got, c.want)
		}
	}
}

// TestRetryBudgetOfThoseThatWait: a budget is a share of the requests that are active and of those that wait for a connection, each once.
func TestRetryBudgetOfThoseThatWait(t *testing.T) {
	cluster, _, _ := pooled(t, Config{Limits: Limits{Connections: 1, Budget: &RetryBudget{Percent: 100}}})
	l := open(t, cluster)
	const waiting = 3
	ends := make(chan exchange.Outcome)
	for range waiting {
		go func() {
			cluster.Begin()
			l, o := cluster.Hosts()[0].Open(newExchange(), nil, time.Time{})
			l.Close(time.Time{})
			ends <- o
		}()
	}
	for cluster.pending.Load() < waiting {
		time.Sleep(time.Millisecond)
	}
	got := 0
	for cluster.BeginRetry() {
		got++
	}
	if got != 1+waiting {
		t.Errorf("%d retries at once, want %d", got, 1+waiting)
	}
	l.Close(time.Time{})
	for range waiting {
		<-ends
	}
	if n := cluster.requests.Load() + cluster.pending.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// TestRetryBudgetInterval: with an interval, a budget is a share of the requests that began in it, whether they are over or not.
func TestRetryBudgetInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		cluster := live(Config{Limits: Limits{Budget: &RetryBudget{Percent: 20, Min: 1, Interval: interval}}}, endpoint(a))
		retries := func() (n int) {
			for cluster.BeginRetry() {
				n++
			}
			for range n {
				cluster.DoneRetry()
			}
			return n
		}
		for range 50 {
			cluster.Begin()
		}
		if got := retries(); got != 10 {
			t.Errorf("%d retries after 50 requests, want 10", got)
		}
		time.Sleep(interval)
		for range 20 {
			cluster.Begin()
		}
		if got := retries(); got != 14 {
			t.Errorf("%d retries after 70 requests within the interval, want 14", got)
		}
		time.Sleep(2 * interval)
		if got := retries(); got != 1 {
			t.Errorf("%d retries with 20 active requests, all of them older than the interval, want 1", got)
		}
	})
}

// TestIdleTimeout: pooled connections are closed after their time, by default an hour; a negative one keeps them.
func TestIdleTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		idle       time.Duration
		soon, late int32 // closed after 59 and after 61 minutes
	}{
		"default": {0, 0, 1},
		"given":   {time.Minute, 1, 1},
		"none":    {-1, 0, 0},
	} {
		cluster, _, closed := pooled(t, Config{IdleTimeout: c.idle})
		l := open(t, cluster)
		l.Close(time.Time{})
		now := time.Now()
		after := func(d time.Duration) int32 {
			cluster.sweep(now.Add(d))
			return closed.Load()
		}
		if after(0); after(59*time.Minute) != c.soon || after(61*time.Minute) != c.late {
			t.Errorf("%s: %d closed", name, closed.Load())
		}
	}
}
