package takeover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Offer lets another process of the same user take the sockets over, until one has, which it reports, or ctx ends. The folder of path has to be one that
// nobody else can write to.
func (s *Sockets) Offer(ctx context.Context, path string) (taken bool, err error) {
	l, err := offer(path)
	if err != nil {
		return false, fmt.Errorf("offering sockets at %s: %w", path, err)
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for ctx.Err() == nil {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return false, fmt.Errorf("offering sockets at %s: %w", path, err)
		}
		if s.hand(ctx, conn) {
			return true, nil
		}
	}
	return false, nil
}

// offer opens the socket at path, in the place of one that another process left there.
func offer(path string) (*net.UnixListener, error) {
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if folder.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("others may write to %s", filepath.Dir(path))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by then it may be the next process's
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// hand serves one process that asks, and says whether it has taken over.
func (s *Sockets) hand(ctx context.Context, conn *net.UnixConn) bool {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if same(conn) != nil {
		return false
	}
	for word := make([]byte, 16); ; {
		n, err := conn.Read(word) // it becomes ready when it does; if it ends before, so does this
		if err != nil {
			return false
		}
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		switch string(word[:n]) {
		case wordAgain:
			if s.send(conn) != nil {
				return false
			}
		case wordServing:
			s.give()
			_, _ = conn.Write([]byte(wordYours)) // if it is gone, it has the sockets all the same
			return true
		default:
			return false
		}
	}
}

// give lets go of all sockets.
func (s *Sockets) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given = true
	for h := range s.open {
		h.give()
	}
	clear(s.open)
}

// send sends the sockets that are open.
func (s *Sockets) send(conn *net.UnixConn) error {
	s.mu.Lock()
	var all []*held
	for h := range s.open {
		all = append(all, h)
	}
	s.mu.Unlock()
	for part := range slices.Chunk(all, batch) {
		if err := sendPage(conn, part); err != nil {
			return err
		}
	}
	_, err := conn.Write([]byte(`{"last":true}`))
	return err
}
