package upstream

import "testing"

// TestRetryBudget: a budget replaces the limit of retries, and a share of nothing is its minimum, not everything.
func TestRetryBudget(t *testing.T) {
	for name, c := range map[string]struct {
		budget RetryBudget
		active int
		want   int
	}{
		"no share":              {RetryBudget{Percent: 0, Min: 3}, 100, 3},
		"nothing at all":        {RetryBudget{}, 100, 0},
		"a share":               {RetryBudget{Percent: 20, Min: 3}, 50, 10},
		"the minimum is more":   {RetryBudget{Percent: 20, Min: 3}, 5, 3},
		"more than the limit's": {RetryBudget{Percent: 100}, 20, 20},
	} {
		cluster := live(Config{Limits: Limits{Retries: 1, Budget: &c.budget}}, endpoint(a))
		for range c.active {
			cluster.Begin()
		}
		got := 0
		for got <= c.want && cluster.BeginRetry() {
			got++
		}
		if got != c.want {
			t.Errorf("%s: %d retries at once, want %d", name, got, c.want)
		}
	}
}
