// Package capture looks at the packets that pass between the nodes, as a listener on the wire would. It changes none.
package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Seen is what passed by.
type Seen struct {
	Packets  int `json:"packets"`
	Bytes    int `json:"bytes"`
	Matching int `json:"matching"` // packets with the marker in them
}

// Run counts the packets that enter any interface of this network namespace until the context ends. It calls ready once it listens.
func Run(ctx context.Context, marker []byte, ready func()) (Seen, error) {
	const all = 0x0300 // ETH_P_ALL in network order
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, all)
	if err != nil {
		return Seen{}, fmt.Errorf("capturing: %w", err)
	}
	defer syscall.Close(fd)
	// Packets can come in bursts, while this process waits for a processor.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 64<<20); err != nil {
		return Seen{}, fmt.Errorf("capturing: %w", err)
	}
	pause := syscall.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &pause); err != nil {
		return Seen{}, fmt.Errorf("capturing: %w", err)
	}
	ready()
	var seen Seen
	for buf := make([]byte, 128<<10); ; {
		n, from, err := syscall.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			if ctx.Err() != nil {
				return seen, nil // only now: what had arrived before has been read
			}
			continue
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return seen, fmt.Errorf("capturing: %w", err)
		}
		if link, ok := from.(*syscall.SockaddrLinklayer); ok && link.Pkttype == syscall.PACKET_OUTGOING {
			continue // seen before, where it came in
		}
		seen.Packets++
		seen.Bytes += n
		if bytes.Contains(buf[:n], marker) {
			seen.Matching++
		}
	}
}
