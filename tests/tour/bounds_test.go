package tour

import "testing"

func TestBinomialBounds(t *testing.T) {
	for _, c := range []struct {
		n          int
		p          float64
		low, high  int
		confidence float64
	}{
		{1000, 0.1, 70, 132, 0.999}, // scipy.stats.binom.interval(0.999, 1000, 0.1)
		{10, 0.5, 0, 10, 0.9999},
		{100, 0.2, 8, 34, 0.999},
	} {
		low, high := binomialBounds(c.n, c.p, c.confidence)
		if low != c.low || high != c.high {
			t.Errorf("n=%d p=%v: [%d, %d], want [%d, %d]", c.n, c.p, low, high, c.low, c.high)
		}
	}
}
