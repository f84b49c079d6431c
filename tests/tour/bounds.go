package tour

import "math"

// binomialBounds returns the smallest range [low, high] that holds the number of successes among n trials of probability p
// with at least the given confidence, cutting equally on both sides.
func binomialBounds(n int, p, confidence float64) (low, high int) {
	tail := (1 - confidence) / 2
	sum, k := 0.0, 0
	for ; k <= n; k++ {
		if sum += pmf(n, k, p); sum > tail {
			break
		}
	}
	low = k
	sum = 0
	for k = n; k >= 0; k-- {
		if sum += pmf(n, k, p); sum > tail {
			break
		}
	}
	return low, k
}

func pmf(n, k int, p float64) float64 {
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return math.Exp(lg(n) - lg(k) - lg(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log(1-p))
}
