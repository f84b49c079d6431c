package source

import (
	"context"
	"time"
)

// lane tells one listener of changes. The first change goes at once; those that follow it closely wait until none came for
// a quiet time, and no longer than patience. What changes while the listener is busy is one change.
type lane struct {
	quiet, patience time.Duration
	dirty           chan struct{} // holds one
}

func newLane(quiet, patience time.Duration) *lane {
	return &lane{quiet: quiet, patience: patience, dirty: make(chan struct{}, 1)}
}

// wake marks a change. It never blocks.
func (l *lane) wake() {
	select {
	case l.dirty <- struct{}{}:
	default:
	}
}

// run calls tell after changes until ctx ends.
func (l *lane) run(ctx context.Context, tell func()) {
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.dirty:
		}
		if l.quiet > 0 && time.Since(last) < l.quiet && !l.settle(ctx) {
			return
		}
		tell()
		last = time.Now()
	}
}

// settle waits for the end of a burst. It returns false if ctx ends first.
func (l *lane) settle(ctx context.Context) bool {
	deadline := time.NewTimer(l.patience)
	defer deadline.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-deadline.C:
			return true
		case <-l.dirty:
		case <-time.After(l.quiet):
			return true
		}
	}
}
