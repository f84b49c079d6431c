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

// Offer lets other processes of the same user take the sockets over, until one has, which it reports, or ctx ends. They may all ask meanwhile: the first that
// is ready has them. The folder of path has to be one that nobody else can write to. What others are told may go on until ctx ends.
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
	for {
		conn, err := l.AcceptUnix()
		switch {
		case err == nil:
			go s.hand(ctx, &asker{conn, map[*held]bool{}}, l)
		case s.Taken():
			return true, nil
		case ctx.Err() != nil:
			return false, nil
		case errors.Is(err, net.ErrClosed):
			return false, err
		default: // out of descriptors, most likely
			s.log.Warn("accepting a process that asks for the sockets", "error", err)
			wait(ctx)
		}
	}
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
			err = os.Remove(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
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

// hand serves one process that asks, until it has taken over or ends: it becomes ready when it does.
func (s *Sockets) hand(ctx context.Context, a *asker, l desk) {
	defer a.conn.Close()
	defer context.AfterFunc(ctx, func() { a.conn.Close() })()
	if err := s.same(a.conn); err != nil {
		s.log.Warn("a process that asks for the sockets is refused", "error", err)
		return
	}
	s.mu.Lock()
	s.askers[a] = true
	s.mu.Unlock()
	defer s.forget(ctx, a)
	for word := make([]byte, 16); ; {
		n, err := a.conn.Read(word)
		if err != nil {
			return
		}
		switch string(word[:n]) {
		case wordAgain:
			err = s.send(a)
		case wordServing:
			s.give(a, l)
		default:
			return
		}
		if err != nil {
			return
		}
	}
}

// tell says a word to a process. If it is gone it needs none.
func (s *Sockets) tell(a *asker, word string) {
	_ = a.conn.SetWriteDeadline(time.Now().Add(s.patience))
	_, _ = a.conn.Write([]byte(word))
}

// give lets go of all sockets, in favour of a process, unless another one was faster. All that ask are told.
func (s *Sockets) give(a *asker, l desk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		s.tell(a, wordTaken)
		return
	}
	s.given = true
	_ = l.Close() // the path is the other one's, too, once it is told
	for h := range s.open {
		h.give()
	}
	clear(s.open)
	s.tell(a, wordYours)
	for other := range s.askers {
		if other != a {
			s.tell(other, wordTaken)
		}
	}
}

// forget has what was sent to a process be this one's alone again. Where this one is the one that ends (ctx says so) the other may well serve.
func (s *Sockets) forget(ctx context.Context, a *asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.askers, a)
	if ctx.Err() != nil || s.given {
		return
	}
	for h := range a.lent {
		h.back()
	}
}

// send sends the sockets that are open.
func (s *Sockets) send(a *asker) error {
	if s.Taken() {
		s.tell(a, wordTaken)
		return nil
	}
	_ = a.conn.SetWriteDeadline(time.Now().Add(s.patience))
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
