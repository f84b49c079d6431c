package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/proc"
)

// Line is the command line of a group's first process.
func Line(binary, spec string) []string { return []string{binary, "supervise", spec} }

// Start begins a group: binary is this very program, which calls Run when it is started with `supervise SPEC`. An empty netns leaves the group
// in the machine's own network. The group outlives its starter.
func Start(binary, netns, spec, log string) (proc.ID, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return proc.ID{}, fmt.Errorf("starting %s: %w", spec, err)
	}
	defer out.Close()
	args := Line(binary, spec)
	if netns != "" {
		args = append([]string{"nsenter", "--net=/run/netns/" + netns, "--"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		return proc.ID{}, fmt.Errorf("starting %s: %w", spec, err)
	}
	go func() { _ = cmd.Wait() }() // so that an early death is seen as one, not as a zombie
	return proc.Of(cmd.Process.Pid)
}
