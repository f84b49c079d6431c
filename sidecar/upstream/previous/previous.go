// Package previous says which priorities a try keeps away from because earlier ones went there, as Envoy's retry priority previous_priorities does. It does not
// know what they are: each is a bit.
package previous

// Excluded are the bits to leave out after tries with these: after every so many tries those of all so far. Where nothing fit would be left, it begins anew.
func Excluded(tried []uint64, every int, fit uint64) uint64 {
	out, since := uint64(0), 0
	for n := 1; n <= len(tried); n++ {
		if (n-since)%every != 0 {
			continue
		}
		for _, bit := range tried[since:n] {
			out |= bit
		}
		if fit&^out == 0 {
			out, since = 0, n
		}
	}
	return out
}
