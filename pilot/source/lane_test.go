package source

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// told runs a lane and records when its listener was told.
func told(t *testing.T, quiet, patience time.Duration, changes func(wake func())) []time.Duration {
	t.Helper()
	var at []time.Duration
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, start := newLane(quiet, patience), time.Now()
		go l.run(ctx, func() { at = append(at, time.Since(start)) })
		changes(l.wake)
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
	})
	return at
}

func expect(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("told at %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("told at %v, want %v", got, want)
		}
	}
}

const ms = time.Millisecond

func TestFirstChangeGoesAtOnceAndTheBurstOnce(t *testing.T) {
	got := told(t, quiet, patience, func(wake func()) {
		wake()
		for range 5 {
			time.Sleep(10 * ms)
			wake()
		}
	})
	expect(t, got, 0, 150*ms)
}

func TestChangesFarApartGoAtOnce(t *testing.T) {
	got := told(t, quiet, patience, func(wake func()) {
		for range 3 {
			wake()
			time.Sleep(200 * ms)
		}
	})
	expect(t, got, 0, 200*ms, 400*ms)
}

func TestAnEndlessBurstWaitsNoLongerThanPatience(t *testing.T) {
	got := told(t, quiet, time.Second, func(wake func()) {
		wake()
		time.Sleep(5 * ms)
		for range 30 {
			wake()
			time.Sleep(50 * ms)
		}
	})
	expect(t, got, 0, 1005*ms, 1605*ms-50*ms)
}

func TestEndpointsNeverWait(t *testing.T) {
	got := told(t, 0, 0, func(wake func()) {
		for range 3 {
			wake()
			time.Sleep(ms)
		}
	})
	expect(t, got, 0, ms, 2*ms)
}
