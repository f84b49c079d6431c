// Package rota puts things into an order in which each comes as often as its weight says, and as evenly as that can be. It does not know what they are.
package rota

// Order returns the places of a round, each the index of a weight, in smooth weighted round-robin order. Weights are scaled down where there would be more
// than most places. Nil: all weigh the same, or nothing is there.
func Order(weights []uint64, most int) []int {
	total, divisor := uint64(0), uint64(0)
	for _, w := range weights {
		total, divisor = total+w, gcd(w, divisor)
	}
	if total == 0 || total/divisor == uint64(len(weights)) {
		return nil
	}
	scale := max(float64(total)/float64(most), float64(divisor))
	scaled, credit, places := make([]float64, len(weights)), make([]float64, len(weights)), 0.0
	for i, w := range weights {
		scaled[i] = max(1, float64(w)/scale)
		places += scaled[i]
	}
	out := make([]int, 0, int(places))
	for range int(places) {
		top := 0
		for i := range weights {
			credit[i] += scaled[i]
			if credit[i] > credit[top] {
				top = i
			}
		}
		credit[top] -= places
		out = append(out, top)
	}
	return out
}

// mostSpread bounds what Spread returns, but for at least one of each.
const mostSpread = 4096

// Spread repeats things by their weights, in that order; where all weigh the same, it returns them as they are.
func Spread[T any](things []T, weight func(T) uint64) []T {
	weights := make([]uint64, len(things))
	for i, t := range things {
		weights[i] = weight(t)
	}
	order := Order(weights, mostSpread)
	if order == nil {
		return things
	}
	out := make([]T, len(order))
	for i, n := range order {
		out[i] = things[n]
	}
	return out
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
