package memo

import "testing"

func TestRemembersOneRound(t *testing.T) {
	m, built := New[string, int](), 0
	build := func(s string) int { built++; return len(s) }
	m.Get("ab", build)
	m.Get("ab", build)
	m.Get("abc", build)
	if hits, misses := m.Round(); hits != 1 || misses != 2 {
		t.Errorf("first round: %d hits, %d misses", hits, misses)
	}
	m.Get("ab", build)
	if hits, misses := m.Round(); hits != 1 || misses != 0 {
		t.Errorf("second round: %d hits, %d misses", hits, misses)
	}
	m.Get("abc", build)
	if built != 3 {
		t.Errorf("built %d times, want 3: what a round did not use is forgotten", built)
	}
}
