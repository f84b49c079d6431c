package questions

import (
	"slices"
	"testing"
)

// TestWhatWasAskedFirstMakesRoom holds the bounds: of open questions, of vain ones, and of those that brought something.
func TestWhatWasAskedFirstMakesRoom(t *testing.T) {
	became := map[int]Answer{}
	var q Queue[int]
	ask := func(n int) bool { return q.Add(n, func(n int) Answer { return became[n] }) }
	for n := range MaxOpen {
		if !ask(n) {
			t.Fatalf("question %d is not taken", n)
		}
	}
	if !ask(0) || len(q.Names()) != MaxOpen {
		t.Error("to ask again is another question")
	}
	if ask(MaxOpen) {
		t.Error("there is no end to open questions")
	}
	for n := range MaxOpen {
		became[n] = Vain
	}
	became[1] = Held
	if !ask(MaxOpen) || len(q.Names()) != MaxOpen+1 {
		t.Errorf("%d questions: one was held, and there was room", len(q.Names()))
	}
	if !ask(MaxOpen+1) || slices.Contains(q.Names(), 0) || !slices.Contains(q.Names(), 1) || !slices.Contains(q.Names(), 2) {
		t.Error("the first vain question does not make room, or another does")
	}

	full := Queue[int]{known: map[int]bool{}}
	for n := range MaxHeld {
		full.order, full.known[n] = append(full.order, n), true
	}
	if !full.Add(MaxHeld, func(int) Answer { return Held }) || len(full.Names()) != MaxHeld || slices.Contains(full.Names(), 0) || full.known[0] {
		t.Error("what was held first does not make room")
	}
}
