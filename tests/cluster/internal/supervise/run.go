package supervise

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// restartDelay keeps a program that cannot start from burning the processor.
const restartDelay = time.Second

// Run is the first process of a group: it makes the surroundings, starts the programs, and returns when it is told to stop.
func Run(s Spec) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("supervising %s: must be the first process of its namespace", s.Name)
	}
	if err := surround(s); err != nil {
		return fmt.Errorf("preparing %s: %w", s.Name, err)
	}
	openFiles()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	children := make(chan os.Signal, 64)
	signal.Notify(children, syscall.SIGCHLD)

	g := &group{running: map[int]*child{}}
	for _, p := range s.Programs {
		log, err := newLog(filepath.Join(s.Logs, p.Name+".log"))
		if err != nil {
			return err
		}
		g.start(&child{program: p, log: log})
	}
	for {
		select {
		case <-stop:
			g.stop()
			return nil
		case <-children:
			g.reap()
		}
	}
}

// openFiles lets the programs, and with them every container, open as many files as the machine permits.
func openFiles() {
	const plenty = 1 << 20
	var limit syscall.Rlimit
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: plenty, Max: plenty}) == nil {
		return
	}
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}

type child struct {
	program Program
	log     *rotating
}

// group is the table of running programs. Everything whose parent has ended becomes a child of the first process, so that one place must
// wait for all: os/exec, which waits by itself, is not used.
type group struct {
	mu       sync.Mutex
	running  map[int]*child
	stopping bool
}

func (g *group) start(c *child) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return
	}
	pid, err := spawn(c)
	if err != nil {
		fmt.Fprintf(c.log, "cannot start %s: %v\n", c.program.Name, err)
		time.AfterFunc(restartDelay, func() { g.start(c) })
		return
	}
	g.running[pid] = c
}

func spawn(c *child) (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer w.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(c.program.Args[0], c.program.Args, &syscall.ProcAttr{
		Dir:   "/",
		Env:   append(os.Environ(), c.program.Env...),
		Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		r.Close()
		return 0, err
	}
	go func() {
		_, _ = r.WriteTo(onlyWriter{c.log})
		r.Close()
	}()
	return pid, nil
}

// reap collects every child that has ended, and starts the programs among them again.
func (g *group) reap() {
	for {
		var status syscall.WaitStatus
		g.mu.Lock()
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		c := g.running[pid]
		delete(g.running, pid)
		g.mu.Unlock()
		if err != nil || pid <= 0 {
			return
		}
		if c == nil {
			continue // an orphan
		}
		fmt.Fprintf(c.log, "%s ended (exit code %d, signal %d) and is started again\n", c.program.Name, status.ExitStatus(), status.Signal())
		time.AfterFunc(restartDelay, func() { g.start(c) })
	}
}

// stop lets the programs finish what they write; the kernel ends the rest when the first process returns.
func (g *group) stop() {
	g.mu.Lock()
	g.stopping = true
	for pid := range g.running {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	g.mu.Unlock()
	time.Sleep(200 * time.Millisecond)
}
