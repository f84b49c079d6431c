// Package queue is where exchanges wait for a place on a connection, each until its turn comes, in the order in which they came. It does not know what
// they wait for, and must not dial.
package queue

import (
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Turn ends a wait: to try again, or with what the attempt came to that was waited for.
type Turn[L any] struct {
	Link    L
	Outcome exchange.Outcome
	Why     string
}

// Queue is of places, channels with room for a turn each. It is guarded by its owner's lock.
type Queue[L any] struct {
	places []chan Turn[L]
}

// Len is how many wait.
func (q *Queue[L]) Len() int { return len(q.places) }

// Join makes p the last.
func (q *Queue[L]) Join(p chan Turn[L]) { q.places = append(q.places, p) }

// Leave gives a place up.
func (q *Queue[L]) Leave(p chan Turn[L]) {
	if i := slices.Index(q.places, p); i >= 0 {
		q.places = slices.Delete(q.places, i, i+1)
	}
}

// Next gives the one that has waited longest its turn.
func (q *Queue[L]) Next(t Turn[L]) {
	if len(q.places) == 0 {
		return
	}
	q.places[0] <- t
	q.places = slices.Delete(q.places, 0, 1)
}

// All gives everybody a turn.
func (q *Queue[L]) All(t Turn[L]) {
	for _, p := range q.places {
		p <- t
	}
	clear(q.places)
	q.places = q.places[:0]
}

// Wait waits for a turn, without the owner's lock. A client that gives up, or a deadline (zero: there is none), ends it, too: none came, and the place is
// to be given up.
func Wait[L any](x *exchange.Exchange, p chan Turn[L], deadline time.Time) (t Turn[L], came bool) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case t = <-p:
		if t.Outcome != exchange.OK {
			x.Upstream.Failure = t.Why
		}
		return t, true
	case <-x.Done():
		return Turn[L]{Outcome: exchange.ClientGone}, false
	case <-late:
		return Turn[L]{Outcome: exchange.Timeout}, false
	}
}
