package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
)

// journal notes what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// component starts, waits for its end, and notes both.
func (j *journal) component(name string) lifecycle.Component {
	ready := make(chan struct{})
	return lifecycle.Component{Name: name, Ready: ready, Run: func(ctx context.Context) error {
		j.add("start " + name)
		close(ready)
		<-ctx.Done()
		j.add("stop " + name)
		return nil
	}}
}

func TestStartsInOrderAndStopsInTheOpposite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- lifecycle.Run(ctx, j.component("a"), j.component("b"), j.component("c")) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{"start a", "start b", "start c", "stop c", "stop b", "stop a"}
		if !slices.Equal(j.lines, want) {
			t.Errorf("got %v, want %v", j.lines, want)
		}
	})
}

func TestALaterComponentWaitsForTheEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		never := lifecycle.Component{Name: "slow", Ready: make(chan struct{}), Run: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- lifecycle.Run(ctx, never, j.component("late")) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a component that says it was cancelled did well, got %v", err)
		}
		if len(j.lines) != 0 {
			t.Errorf("the later component ran: %v", j.lines)
		}
	})
}

func TestOneThatFailsEndsAll(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"an error":          {errors.New("no port"), "running broken: no port"},
		"an end on its own": {nil, "running broken: it ended on its own"},
	} {
		t.Run(name, func(t *testing.T) {
			var j journal
			broken := lifecycle.Component{Name: "broken", Run: func(context.Context) error { return c.err }}
			err := lifecycle.Run(t.Context(), j.component("a"), broken)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if !slices.Equal(j.lines, []string{"start a", "stop a"}) {
				t.Errorf("got %v", j.lines)
			}
		})
	}
}
