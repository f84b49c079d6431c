package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/proc"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/supervise"
)

// again is how often a program that must stay dead is looked for: its supervisor starts it again after a second.
const again = 100 * time.Millisecond

// Outage keeps a program of a group from working until ctx ends, and then lets it go on: frozen, its connections stay open and nobody answers; killed again
// and again, nobody listens. begun is called once it is away.
func (c Cluster) Outage(ctx context.Context, group, program string, kill bool, begun func()) error {
	id, err := c.program(group, program)
	if err != nil {
		return err
	}
	if kill {
		return c.dies(ctx, group, program, begun)
	}
	if err := syscall.Kill(id.PID, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freezing %s: %w", program, err)
	}
	begun()
	<-ctx.Done()
	if err := syscall.Kill(id.PID, syscall.SIGCONT); err != nil {
		return fmt.Errorf("letting %s go on: %w", program, err)
	}
	return nil
}

// dies kills a program as often as it is started.
func (c Cluster) dies(ctx context.Context, group, program string, begun func()) error {
	for first := true; ctx.Err() == nil; first = false {
		id, err := c.program(group, program)
		switch {
		case err == nil:
			err = syscall.Kill(id.PID, syscall.SIGKILL)
		case errors.Is(err, errNotRunning):
			err = nil
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("killing %s: %w", program, err)
		}
		if first {
			begun()
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
	return nil
}

// errNotRunning is said of a program that its supervisor has not started yet, or not again.
var errNotRunning = errors.New("it does not run")

// program finds a program of a group: the child of the group's first process with the very command line that the group's description has.
func (c Cluster) program(group, name string) (proc.ID, error) {
	supervisor, err := proc.Load(c.Layout.Process(group))
	if err != nil {
		return proc.ID{}, err
	}
	if !supervisor.Alive() {
		return proc.ID{}, fmt.Errorf("%s does not run", group)
	}
	spec, err := supervise.Load(c.Layout.Spec(group))
	if err != nil {
		return proc.ID{}, err
	}
	at := slices.IndexFunc(spec.Programs, func(p supervise.Program) bool { return p.Name == name })
	if at < 0 {
		return proc.ID{}, fmt.Errorf("%s has no program %s", group, name)
	}
	all, err := proc.Running(spec.Programs[at].Args)
	if err != nil {
		return proc.ID{}, err
	}
	for _, id := range all {
		if id.ChildOf(supervisor) {
			return id, nil
		}
	}
	return proc.ID{}, fmt.Errorf("%s: %w", name, errNotRunning)
}
