package engine

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// never is a control plane that does not learn of the application's end.
func never(ctx context.Context) bool {
	<-ctx.Done()
	return false
}

// after is one that does.
func after(d time.Duration) func(context.Context) bool {
	return func(ctx context.Context) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
}

func replace(e *Engine) { e.replaced.Store(true) }

// TestHowLongAProxyStays holds how long a proxy that nobody talks to stays after it was told to end.
func TestHowLongAProxyStays(t *testing.T) {
	const drain, grace = 45 * time.Second, 30 * time.Second
	for why, c := range map[string]struct {
		termination Termination
		before      func(*Engine) // the end comes
		want        time.Duration
	}{
		"a native sidecar, whose application has gone":       {Termination{Alone: true, Drain: drain, Grace: grace}, nil, 0},
		"an ordinary one, whose application may only think":  {Termination{Ended: never, Drain: drain, Grace: grace}, nil, grace - reserve},
		"until it is known to have ended":                    {Termination{Ended: after(8 * time.Second), Drain: drain, Grace: grace}, nil, 8 * time.Second},
		"it had ended before":                                {Termination{Ended: never, Drain: drain, Grace: grace}, (*Engine).ApplicationEnded, 0},
		"silence has an end where there is much time":        {Termination{Ended: never, Drain: drain, Grace: time.Hour}, nil, drain},
		"the grace period is not known":                      {Termination{Ended: never, Drain: drain}, nil, drain},
		"there is no time":                                   {Termination{Ended: never, Drain: drain, Grace: time.Second}, nil, 0},
		"an application that said it asks for nothing more":  {Termination{Ended: never, Drain: drain, Grace: grace}, (*Engine).dismiss, settle},
		"an edge, until its clients are silent":              {Termination{Drain: drain, Grace: time.Minute}, nil, settle},
		"an edge that has less time than its clients' pause": {Termination{Drain: time.Second, Grace: time.Minute}, nil, time.Second},
		"another process serves":                             {Termination{Ended: never, Drain: time.Second, Grace: grace}, replace, time.Second},
		"another process serves, and little time is said":    {Termination{Ended: never, Drain: drain, Grace: grace, Restart: 2 * time.Second}, replace, 2 * time.Second},
		"another process serves, and more time is said":      {Termination{Ended: never, Drain: time.Second, Grace: time.Second, Restart: time.Hour}, replace, settle},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				workload := identity.New(identity.Options{Roots: identity.NewRoots("none"), Log: slog.New(slog.DiscardHandler)})
				e := New(Options{Identity: workload, Drains: []exchange.Direction{exchange.Inbound}, Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{},
					Termination: c.termination, Quit: func() {}})
				if c.before != nil {
					c.before(e)
				}
				start := time.Now()
				e.terminate()
				if took := time.Since(start); took < c.want || took > c.want+2*lookAgain {
					t.Errorf("stayed for %s, want %s", took, c.want)
				}
			})
		})
	}
}
