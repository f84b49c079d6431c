package main

import (
	"bytes"
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
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The proxies under test have the first core, everybody else the others (or the same one, where there is no other).
const proxyCore = 0

// others stands for all cores but proxyCore.
const others = -1

const (
	startWithin = 2 * time.Minute
	lookEvery   = 50 * time.Millisecond
	files       = 1 << 16 // open at once in each process, where the system lets it
)

// process is a running contender or backend.
type process struct {
	addr string // a backend's
	cmd  *exec.Cmd
	dir  string // gone when it stops
	said *bytes.Buffer
	done chan struct{} // closed once it has ended
}

// freeAddr finds an address that nobody listens on.
func freeAddr(ip string) (string, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// spawn runs a program on a core. It ends with this one.
func spawn(ctx context.Context, core int, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...), said: &bytes.Buffer{}, done: make(chan struct{})}
	p.cmd.Stderr = p.said
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is the program's, which ends with it
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := pin(core)
		if err == nil {
			err = p.cmd.Start() // children inherit the affinity of the thread
		}
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(name), err)
	}
	limit := unix.Rlimit{Cur: files, Max: files}
	_ = unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil) // without the right to it, what there is must do
	return p, nil
}

// await returns once somebody listens at an address.
func (p *process) await(ctx context.Context, addr string) error {
	for until := time.Now().Add(startWithin); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(lookEvery) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %s", filepath.Base(p.cmd.Path), p.said.String())
		default:
		}
	}
	p.stop() // what it says is written until then
	return fmt.Errorf("%s does not listen on %s: %s", filepath.Base(p.cmd.Path), addr, p.said.String())
}

// pin binds the calling thread to a core, or to all others.
func pin(core int) error {
	want, err := coresFor(core)
	if err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, want); err != nil {
		return fmt.Errorf("setting the affinity: %w", err)
	}
	return nil
}

// coresFor returns a core of this machine, or all others; where that leaves none, all.
func coresFor(core int) (*unix.CPUSet, error) {
	var all, want unix.CPUSet
	if err := unix.SchedGetaffinity(1, &all); err != nil { // init's: this program's own may be pinned already
		if err := unix.SchedGetaffinity(0, &all); err != nil {
			return nil, fmt.Errorf("reading the affinity: %w", err)
		}
	}
	for i := range 1024 {
		if all.IsSet(i) && (i == core || core < 0 && i != proxyCore) {
			want.Set(i)
		}
	}
	if want.Count() == 0 {
		want = all
	}
	return &want, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// cpu is the time that the process and its children have run, to the nanosecond.
func (p *process) cpu() (time.Duration, error) {
	total := time.Duration(0)
	for _, pid := range append(children(p.cmd.Process.Pid), p.cmd.Process.Pid) {
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

// memory is what the process has in memory, in bytes.
func (p *process) memory() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	return float64(pages * os.Getpagesize()), err
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
