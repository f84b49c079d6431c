// Package process runs the programs of the demo, of the test run and of tests so that none outlives them. It decides nothing about what runs.
package process

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// grace is how long programs may take to end when they are asked to.
const grace = 30 * time.Second

// Run runs cmd, whose context must be ctx, as the head of a process group, or of a session where SysProcAttr.Setsid says so. When ctx ends the whole group is asked to end, since `go run` hands
// nothing on to what it runs; Run returns once the group has ended, and kills it after a while.
func Run(ctx context.Context, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	if ctx.Err() == nil || cmd.Process == nil {
		return err
	}
	for until := time.Now().Add(grace); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if errors.Is(syscall.Kill(-cmd.Process.Pid, 0), syscall.ESRCH) {
			return err
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may just have ended
	return err
}
