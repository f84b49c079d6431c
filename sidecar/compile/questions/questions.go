// Package questions remembers what a proxy on demand asked for, within bounds. It asks nobody.
package questions

import "slices"

// Bounds of what is asked for. What was asked first makes room, and is asked for again when it is used again.
const (
	MaxOpen = 1024 // questions without an answer
	MaxVain = 1024 // of these, and of names that the control plane does not have
	MaxHeld = 8192 // virtual hosts
)

// Queue is questions by what they name. The zero value is ready.
type Queue[K comparable] struct {
	order []K
	known map[K]bool
}

// Answer is what became of a question.
type Answer uint8

// The answers.
const (
	Open Answer = iota // none yet
	Vain               // the control plane has no such thing
	Held
)

// Add takes a question; became says what became of an earlier one. False: too many are open.
func (q *Queue[K]) Add(k K, became func(K) Answer) bool {
	if q.known[k] {
		return true
	}
	counts, first := [3]int{}, [3]int{-1, -1, -1}
	for i, o := range q.order {
		a := became(o)
		if counts[a]++; first[a] < 0 {
			first[a] = i
		}
	}
	switch {
	case counts[Open] >= MaxOpen:
		return false
	case counts[Open]+counts[Vain] >= MaxVain && counts[Vain] > 0:
		q.drop(first[Vain])
	case counts[Held] >= MaxHeld:
		q.drop(first[Held])
	}
	if q.known == nil {
		q.known = map[K]bool{}
	}
	q.order, q.known[k] = append(q.order, k), true
	return true
}

func (q *Queue[K]) drop(i int) {
	delete(q.known, q.order[i])
	q.order = slices.Delete(q.order, i, i+1)
}

// Names returns what was asked for, the first first. It is not to be changed.
func (q *Queue[K]) Names() []K { return q.order }
