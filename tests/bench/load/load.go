// Package load is the two ends of what is measured: clients that ask as fast, or as evenly, as they are told to, and backends that answer
// without work of their own. It counts what clients see; it knows nothing of the proxies between.
package load

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Seen is what clients saw.
type Seen struct {
	Done   int   // requests that were answered as they should be
	Failed int   // those that were not
	Err    error // why the first one failed
	Waits  []time.Duration
}

// ErrFailed is returned for loads of which any request failed.
var ErrFailed = errors.New("requests failed")

// Check returns an error if nothing was answered, or anything failed.
func (s *Seen) Check() error {
	switch {
	case s.Err != nil:
		return s.Err
	case s.Failed > 0:
		return ErrFailed
	case s.Done == 0:
		return errors.New("no request was answered")
	}
	return nil
}

// Quantile returns the wait that a share q of the requests did not exceed.
func (s *Seen) Quantile(q float64) time.Duration {
	if len(s.Waits) == 0 {
		return 0
	}
	slices.Sort(s.Waits)
	return s.Waits[min(len(s.Waits)-1, int(q*float64(len(s.Waits))))]
}

func (s *Seen) fail(err error) {
	if s.Failed++; s.Err == nil {
		s.Err = err
	}
}

// all runs n clients side by side and adds up what they saw.
func all(ctx context.Context, n int, client func(ctx context.Context, i int) Seen) Seen {
	seen := make([]Seen, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { seen[i] = client(ctx, i) })
	}
	wg.Wait()
	var sum Seen
	for _, s := range seen {
		sum.Done, sum.Failed, sum.Waits = sum.Done+s.Done, sum.Failed+s.Failed, append(sum.Waits, s.Waits...)
		if sum.Err == nil {
			sum.Err = s.Err
		}
	}
	return sum
}
