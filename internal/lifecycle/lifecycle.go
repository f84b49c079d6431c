// Package lifecycle starts components in order and stops them in the opposite order. It knows nothing of what they do, restarts
// none, and reads no clock: how long stopping may take is the components' own matter.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
)

// Component is a part of a process. Run blocks until ctx is cancelled, then finishes what it must and returns nil; it returns
// earlier only where it cannot go on.
type Component struct {
	Name string
	Run  func(ctx context.Context) error
	// Ready, where set, is closed once later components may start. Where nil they may at once.
	Ready <-chan struct{}
}

// running is a component that was started.
type running struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Run starts the components in order, waiting for each one's Ready, until ctx is cancelled or one of them returns. Then it stops
// them in the opposite order, each one having returned before the one before it is told to. It returns the errors of all, nil
// where every one ended because it was told to.
func Run(ctx context.Context, components ...Component) error {
	ended := make(chan *running, len(components))
	var started []*running
	early := start(ctx, components, &started, ended)
	if early == nil {
		select {
		case <-ctx.Done():
		case early = <-ended:
		}
	}
	var errs []error
	if early != nil && early.err == nil && ctx.Err() == nil {
		errs = append(errs, fmt.Errorf("running %s: it ended on its own", early.name))
	}
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.stop()
		<-r.done
		if r.err != nil && !(errors.Is(r.err, context.Canceled) && r != early) {
			errs = append(errs, fmt.Errorf("running %s: %w", r.name, r.err))
		}
	}
	return errors.Join(errs...)
}

// start starts the components until one of them ends or ctx does, and returns the one that ended.
func start(ctx context.Context, components []Component, started *[]*running, ended chan *running) *running {
	for _, c := range components {
		if ctx.Err() != nil {
			return nil
		}
		*started = append(*started, launch(ctx, c, ended))
		if c.Ready == nil {
			continue
		}
		select {
		case <-c.Ready:
		case <-ctx.Done():
			return nil
		case r := <-ended:
			return r
		}
	}
	return nil
}

// launch runs one component. Its context keeps the values of ctx but not its end: it is stopped in its turn.
func launch(ctx context.Context, c Component, ended chan<- *running) *running {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: c.Name, stop: stop, done: make(chan struct{})}
	go func() {
		r.err = c.Run(own)
		ended <- r
		close(r.done)
	}()
	return r
}
