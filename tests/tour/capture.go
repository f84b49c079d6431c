package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// wires is the network namespace that the wires between the nodes run through.
const wires = "/run/netns/heddle-control"

// packets opens a socket that sees every packet between the nodes, and none that a pod sends to its own proxy.
func packets() (fd int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return 0, fmt.Errorf("finding the own network namespace: %w", err)
	}
	defer home.Close()
	there, err := os.Open(wires)
	if err != nil {
		return 0, fmt.Errorf("finding the nodes' network: %w", err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return 0, fmt.Errorf("entering the nodes' network: %w", err)
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // network byte order
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all&0xffff)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return 0, fmt.Errorf("leaving the nodes' network: %w", back) // the thread is lost to it
	}
	if err != nil {
		return 0, fmt.Errorf("opening a packet socket: %w", err)
	}
	return fd, nil
}

// capture says whether a marker crosses the wires between the nodes while f runs.
func capture(_ context.Context, marker []byte, f func() error) (bool, error) {
	fd, err := packets()
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return false, fmt.Errorf("setting a time limit: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		return false, fmt.Errorf("enlarging the buffer: %w", err)
	}
	var stop atomic.Bool
	type seen struct {
		found   bool
		packets int
		err     error
	}
	result := make(chan seen, 1)
	go func() {
		var s seen
		buf := make([]byte, 1<<17)
		for !stop.Load() {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			switch {
			case err == nil:
				s.packets++
				s.found = s.found || bytes.Contains(buf[:n], marker)
			case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
				s.err = fmt.Errorf("capturing: %w", err)
				result <- s
				return
			}
		}
		result <- s
	}()
	err = f()
	time.Sleep(200 * time.Millisecond) // what is still on its way
	stop.Store(true)
	s := <-result
	if err := errors.Join(err, s.err); err != nil {
		return false, err
	}
	stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return false, fmt.Errorf("reading the capture's statistics: %w", err)
	}
	return verdict(s.found, s.packets, int(stats.Drops))
}

// errDropped says that a capture missed packets: whether the marker was in one of them is unknown.
var errDropped = errors.New("the capture missed packets")

// verdict is what a capture proves that read so many packets, and for which the kernel had no room for so many others.
func verdict(found bool, read, dropped int) (bool, error) {
	switch {
	case found:
		return true, nil
	case read == 0:
		return false, errors.New("the capture saw no packet at all")
	case dropped > 0:
		return false, fmt.Errorf("%w: %d beside the %d that it read", errDropped, dropped, read)
	}
	return false, nil
}
