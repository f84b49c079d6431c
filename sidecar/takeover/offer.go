package takeover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Offer lets another process of the same user take the sockets over, until one has, which it reports, or ctx ends. The folder of path has to be one that
// nobody else can write to.
func (s *Sockets) Offer(ctx context.Context, path string) (taken bool, err error) {
	l, err := s.offer(ctx, path)
	if err == nil {
		taken, err = s.serve(ctx, l)
	}
	if err != nil && ctx.Err() == nil {
		return false, fmt.Errorf("offering sockets at %s: %w", path, err)
	}
	return taken, nil
}

// desk is where processes ask: a *net.UnixListener.
type desk interface {
	AcceptUnix() (*net.UnixConn, error)
	Close() error
}

// serve serves who asks.
func (s *Sockets) serve(ctx context.Context, l desk) (taken bool, err error) {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for ctx.Err() == nil {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, net.ErrClosed):
			return false, err
		case err != nil: // out of descriptors, most likely
			s.log.Warn("accepting a process that asks for the sockets", "error", err)
			wait(ctx)
		case s.hand(ctx, &asker{conn, map[*held]bool{}}, l):
			return true, nil
		}
	}
	return false, nil
}

// pause is how long what may succeed later is let be.
const pause = 100 * time.Millisecond

func wait(ctx context.Context) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

// offer opens the socket at path, in the place of one that another process left there.
func (s *Sockets) offer(ctx context.Context, path string) (*net.UnixListener, error) {
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if folder.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("others may write to %s", filepath.Dir(path))
	}
	if err := s.vacate(ctx, path); err != nil {
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

// vacate removes the socket at path once no process offers its own there.
func (s *Sockets) vacate(ctx context.Context, path string) error {
	for until := time.Now().Add(s.patience); ; wait(ctx) {
		conn, err := dial(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, syscall.ECONNREFUSED):
			return os.Remove(path)
		case err != nil:
			return err
		}
		_ = conn.Close()
		if time.Now().After(until) {
			return errors.New("another process offers its own there")
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// asker is a process that asks.
type asker struct {
	conn *net.UnixConn
	lent map[*held]bool // what was sent to it; of Sockets.mu
}

// hand serves one process that asks, and says whether it has taken over.
func (s *Sockets) hand(ctx context.Context, a *asker, l desk) bool {
	conn := a.conn
	defer conn.Close()
	defer s.forget(ctx, a)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := s.same(conn); err != nil {
		s.log.Warn("a process that asks for the sockets is refused", "error", err)
		return false
	}
	for word := make([]byte, 16); ; {
		n, err := conn.Read(word) // it becomes ready when it does; if it ends before, so does this
		if err != nil {
			return false
		}
		_ = conn.SetWriteDeadline(time.Now().Add(s.patience))
		switch string(word[:n]) {
		case wordAgain:
			if s.send(a) != nil {
				return false
			}
		case wordServing:
			_ = l.Close() // the path is the other one's, too, once it is told
			s.give()
			_, _ = conn.Write([]byte(wordYours)) // if it is gone, it has the sockets all the same
			return true
		default:
			return false
		}
	}
}

// forget has what was sent to a process be this one's alone again. Where this one is the one that ends (ctx says so) the other may well serve.
func (s *Sockets) forget(ctx context.Context, a *asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil || s.given {
		return
	}
	for h := range a.lent {
		h.back()
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
func (s *Sockets) send(a *asker) error {
	for part := range slices.Chunk(s.lend(a), batch) {
		if err := sendPage(a.conn, part); err != nil {
			return err
		}
	}
	_, err := a.conn.Write([]byte(`{"last":true}`))
	return err
}

// lend notes that a process gets all sockets.
func (s *Sockets) lend(a *asker) []*held {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h := range s.open {
		if !a.lent[h] {
			a.lent[h] = true
			h.lend()
		}
	}
	return slices.Collect(maps.Keys(s.open))
}
