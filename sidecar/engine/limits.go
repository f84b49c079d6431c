package engine

import (
	"math"

	"golang.org/x/sys/unix"
)

// reserved is how many descriptors are kept for everything that is neither a client nor on behalf of one.
const reserved = 256

// connectionLimits are how many clients may be connected, to all listeners and to one of them: many need another connection on their
// behalf, if not all, since HTTP clients share those, and accepting must go on. One listener leaves some to the others.
func connectionLimits() (all int64, one int) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0
	}
	return limitsFor(limit.Cur)
}

func limitsFor(descriptors uint64) (all int64, one int) {
	if descriptors > math.MaxInt32 {
		return 0, 0
	}
	all = max((int64(descriptors)-reserved)/5*3, 64)
	return all, int(all / 10 * 9)
}
