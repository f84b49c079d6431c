package process

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Running is a program that runs beside a test.
type Running struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // set before ended is closed
}

// Start starts cmd as the head of a process group. In, if it is not nil, runs start on a thread that is where cmd is to be, in a network
// namespace say. The thread lasts as long as cmd does, and the kernel ends cmd with it: cmd outlives no test, even one that is killed.
func Start(cmd *exec.Cmd, in func(start func())) (*Running, error) {
	if in == nil {
		in = func(start func()) { start() }
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	r, started := &Running{cmd: cmd, ended: make(chan struct{})}, make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is the program's
		in(func() {
			err := cmd.Start()
			started <- err
			if err == nil {
				r.err = cmd.Wait()
				close(r.ended)
			}
		})
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return r, nil
}

// PID is the program's process.
func (r *Running) PID() int { return r.cmd.Process.Pid }

// Ended reports whether the program has ended, and how.
func (r *Running) Ended() (bool, error) {
	select {
	case <-r.ended:
		return true, r.err
	default:
		return false, nil
	}
}

// Kill ends the program and all that it started, and returns once it has ended.
func (r *Running) Kill() {
	if ended, _ := r.Ended(); !ended {
		_ = syscall.Kill(-r.PID(), syscall.SIGKILL) // it may just have ended
		<-r.ended
	}
}
