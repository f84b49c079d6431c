package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The proxy under test has the first core, everybody else the others (or the same one, where there is no other).
const proxyCore = 0

// others stands for all cores but proxyCore.
const others = -1

// process is a running contender or backend.
type process struct {
	addr string
	cmd  *exec.Cmd
	dir  string
}

// freeAddr finds a loopback address that nobody listens on.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// start runs this program in another role.
func start(ctx context.Context, role string, core int, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return spawn(ctx, addr, core, self, append([]string{"-role", role, "-listen", addr}, args...)...)
}

// spawn runs a program on a core and waits until it listens.
func spawn(ctx context.Context, addr string, core int, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	restore, err := pin(core)
	if err != nil {
		return nil, err
	}
	err = cmd.Start() // children inherit the affinity of the thread
	restore()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(name), err)
	}
	p := &process{addr: addr, cmd: cmd}
	for range 100 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return p, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("%s does not listen on %s", filepath.Base(name), addr)
}

// pin binds the calling thread to a core, or to all others, until restore is called.
func pin(core int) (restore func(), err error) {
	runtime.LockOSThread()
	var old, want unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return nil, fmt.Errorf("reading the affinity: %w", err)
	}
	for i := range 1024 {
		if old.IsSet(i) && (i == core || core < 0 && i != proxyCore) {
			want.Set(i)
		}
	}
	if want.Count() == 0 {
		want = old
	}
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return nil, fmt.Errorf("setting the affinity: %w", err)
	}
	return func() {
		_ = unix.SchedSetaffinity(0, &old)
		runtime.UnlockOSThread()
	}, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	done := make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		_ = p.cmd.Process.Kill()
		<-done
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// warm makes connections and caches what they will be.
func (p *process) warm(ctx context.Context, c settings) error {
	_, err := load(ctx, p.addr, c.conns, 300*time.Millisecond)
	return err
}

// cpu is the time that the process and its children have run, to the nanosecond.
func (p *process) cpu() (time.Duration, error) {
	total := time.Duration(0)
	pids := append(children(p.cmd.Process.Pid), p.cmd.Process.Pid)
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			return 0, errors.Join(err, fmt.Errorf("process %d has gone", pid))
		}
		for _, t := range tasks {
			raw, err := os.ReadFile(t)
			if err != nil {
				continue // a thread that ended
			}
			ns, err := strconv.ParseInt(strings.Fields(string(raw))[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading %s: %w", t, err)
			}
			total += time.Duration(ns)
		}
	}
	return total, nil
}

func children(pid int) []int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(raw)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(append(out, n), children(n)...)
		}
	}
	return out
}
