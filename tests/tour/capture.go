package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// capture says whether a marker crosses any of the machine's interfaces while f runs: the wires between the nodes are among them, what a pod
// says to its own proxy is not.
func capture(_ context.Context, marker []byte, f func() error) (bool, error) {
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all&0xffff)
	if err != nil {
		return false, fmt.Errorf("opening a packet socket: %w", err)
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
	if s.packets == 0 {
		return false, errors.New("the capture saw no packet at all")
	}
	return s.found, nil
}
