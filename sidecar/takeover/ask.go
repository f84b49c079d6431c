package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many descriptors go into one message; the kernel takes at most 253 (unix(7), SCM_RIGHTS).
	batch = 200
	// longest is what a message may have, in bytes.
	longest = 64 << 10
)

// What the later process says, and the earlier one's answers to the second.
const (
	wordAgain   = "again"   // the sockets, as they are by now
	wordServing = "serving" // it is ready
	wordYours   = "yours"   // nobody else listens
	wordTaken   = "taken"   // a third process was faster; also said unasked
)

// ErrTaken says that another process took over before this one was ready. It serves; this one has nothing to do.
var ErrTaken = errors.New("another process took over before this one was ready")

// predecessor is the process that had the sockets.
type predecessor struct{ conn *net.UnixConn }

// Ask takes the sockets of the process that offers them at a path over, if there is one. It is to be called before anything listens.
func (s *Sockets) Ask(path string) (found bool, err error) {
	conn, err := dial(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for the sockets at %s: %w", path, err)
	}
	if err := s.same(conn); err != nil {
		return false, errors.Join(fmt.Errorf("asking for the sockets at %s: %w", path, err), conn.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.begun = &predecessor{conn}, make(chan struct{})
	if err := s.fetch(); err != nil {
		s.renounce()
		return false, fmt.Errorf("asking for the sockets at %s: %w", path, err)
	}
	return true, nil
}

func dial(path string) (*net.UnixConn, error) {
	return net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
}

// fetch asks for the sockets. Those that are open here already are not needed twice. s.mu is held.
func (s *Sockets) fetch() error {
	conn := s.first.conn
	_ = conn.SetDeadline(time.Now().Add(s.patience))
	if _, err := conn.Write([]byte(wordAgain)); err != nil {
		return err
	}
	for {
		p, files, err := receive(conn)
		if errors.Is(err, ErrTaken) {
			return s.tooLate()
		}
		if err != nil {
			return err
		}
		for i, key := range p.Keys {
			if s.kept[key] != nil || s.has(key) {
				_ = files[i].Close()
				continue
			}
			s.kept[key] = files[i]
		}
		if p.Last {
			return nil
		}
	}
}

func (s *Sockets) has(key string) bool {
	for h := range s.open {
		if h.key == key {
			return true
		}
	}
	return false
}

// Taken says whether another process has the sockets: it has taken them over from this one, or from the one before, faster than this one.
func (s *Sockets) Taken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != nil && !s.given && s.first.says(wordTaken) {
		_ = s.tooLate()
	}
	return s.given
}

// says reads what the process before has said unasked.
func (p *predecessor) says(word string) bool {
	got, n := make([]byte, 16), 0
	descriptor, err := p.conn.SyscallConn()
	if err == nil {
		err = descriptor.Control(func(fd uintptr) { n, _, _ = unix.Recvfrom(int(fd), got, unix.MSG_DONTWAIT) })
	}
	return err == nil && n > 0 && string(got[:n]) == word
}

// Serve says that this process is ready: the one before lets go of the sockets, and they are accepted from here. Those that nobody has asked for are closed.
// After any error but ErrTaken this process serves as well: the one before is gone, or does not answer.
func (s *Sockets) Serve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		return ErrTaken
	}
	if s.first == nil {
		return nil
	}
	conn := s.first.conn
	_ = conn.SetDeadline(time.Now().Add(s.patience))
	_, _ = conn.Write([]byte(wordServing)) // where that fails there may be an answer all the same
	answer := make([]byte, 16)
	n, err := conn.Read(answer)
	if string(answer[:n]) == wordTaken {
		return s.tooLate()
	}
	s.begin()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the process before has not answered within %s", s.patience)
	case err != nil:
		return fmt.Errorf("the process before is gone: %w", err)
	case string(answer[:n]) != wordYours:
		return fmt.Errorf("the process before says %q", answer[:n])
	}
	return nil
}

// tooLate notes that the sockets are a third process's. s.mu is held.
func (s *Sockets) tooLate() error {
	s.given = true // what is open here stays silent
	_ = s.first.conn.Close()
	return ErrTaken
}

// begin has sockets be accepted from, and makes their paths this process's own. s.mu is held.
func (s *Sockets) begin() {
	for key := range s.kept {
		removePath(key)
	}
	begun := s.begun
	s.renounce()
	for h := range s.open {
		h.removes(true)
	}
	close(begun)
}

// renounce has nothing more to do with the process before. s.mu is held.
func (s *Sockets) renounce() {
	_ = s.first.conn.Close()
	for _, f := range s.kept {
		_ = f.Close()
	}
	clear(s.kept)
	s.first, s.begun = nil, nil
}
