// Package probe finds out whether the application of a machine outside of the cluster is healthy, where no kubelet does: it asks it now and then, and tells
// when the answer has changed for long enough. It decides nothing else, and restarts nothing.
package probe

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/admin"
)

// Probe is what is asked, and how often. Its defaults are those of Istio's ReadinessProbe.
type Probe struct {
	Network *wire.AppProbe // asked of the application; its TimeoutSeconds does not count
	Command []string       // or run: it succeeds by its status
	Delay   time.Duration  // before the first
	Period  time.Duration  // default 10 s
	Timeout time.Duration  // default 1 s
	Success int            // in a row that make it healthy; default 1
	Failure int            // in a row that make it unhealthy; default 3
}

// Defaults returns p with what it does not say.
func (p Probe) Defaults() Probe {
	if p.Period == 0 {
		p.Period = 10 * time.Second
	}
	if p.Timeout == 0 {
		p.Timeout = time.Second
	}
	p.Success = max(p.Success, 1)
	if p.Failure == 0 {
		p.Failure = 3
	}
	return p
}

// Ask asks once. Address is where the application is that names no host.
func (p Probe) Ask(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if p.Network != nil {
		return admin.Probe(ctx, address, *p.Network)
	}
	if len(p.Command) == 0 {
		return errors.New("nothing is to be asked")
	}
	command := exec.CommandContext(ctx, p.Command[0], p.Command[1:]...)
	command.WaitDelay = time.Second // of what it leaves running with its output
	out, err := command.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("running %s: not done within %s", p.Command[0], p.Timeout)
	}
	if err != nil {
		return fmt.Errorf("running %s: %w: %s", p.Command[0], err, tail(string(out)))
	}
	return nil
}

// maxOutput bounds what of a command's output is told, in bytes.
const maxOutput = 256

func tail(text string) string {
	text = strings.TrimSpace(text)
	return strings.ToValidUTF8(text[max(0, len(text)-maxOutput):], "")
}

// Run asks until ctx ends, and tells each time that the application is healthy ("") or not (why), other than before. Ask is p.Ask but in tests.
func (p Probe) Run(ctx context.Context, ask func(context.Context) error, tell func(reason string)) error {
	timer := time.NewTimer(p.Delay)
	defer timer.Stop()
	known, healthy := false, false
	successes, failures := 0, 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(p.Period)
		err := ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			successes, failures = successes+1, 0
		} else {
			successes, failures = 0, failures+1
		}
		switch {
		case successes >= p.Success && (!known || !healthy):
			known, healthy = true, true
			tell("")
		case failures >= p.Failure && (!known || healthy):
			known, healthy = true, false
			tell(err.Error())
		}
	}
}
