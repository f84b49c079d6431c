package process

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A program that is run by another one, as under `go run`, does its last work when the run is broken off, and Run waits for it.
func TestTheWholeGroupEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(300*time.Millisecond, cancel)
	var out strings.Builder
	cmd := exec.CommandContext(ctx, "sh", "-c", `sh -c 'trap "sleep 0.2; echo done; exit" TERM; while :; do sleep 0.05; done' & trap - TERM; wait`)
	cmd.Stdout = &out
	if err := Run(ctx, cmd); err == nil {
		t.Error("a run that was broken off succeeded")
	}
	if out.String() != "done\n" {
		t.Errorf("the program below said %q", out.String())
	}
	if err := syscall.Kill(-cmd.Process.Pid, 0); err != syscall.ESRCH {
		t.Errorf("the group is still there: %v", err)
	}
}

func TestAnOrdinaryEnd(t *testing.T) {
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), "echo", "hello")
	cmd.Stdout = &out
	if err := Run(t.Context(), cmd); err != nil || out.String() != "hello\n" {
		t.Errorf("%q (%v)", out.String(), err)
	}
	if err := Run(t.Context(), exec.CommandContext(t.Context(), "/nowhere")); err == nil {
		t.Error("a program that is not there ran")
	}
}
