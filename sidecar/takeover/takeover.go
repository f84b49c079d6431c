package takeover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many descriptors go into one message; the kernel takes at most 253 (unix(7), SCM_RIGHTS).
	batch = 200
	// longest is what a message may have, in bytes.
	longest = 64 << 10
	// patience bounds what the two processes wait for each other without a reason.
	patience = 10 * time.Second
)

// What the later process says, and the earlier one's answer to the second.
const (
	wordAgain   = "again"   // the sockets, as they are by now
	wordServing = "serving" // it is ready
	wordYours   = "yours"   // nobody else listens
)

// network is what messages keep their borders in.
const network = "unixpacket"

// page is some of the sockets; its descriptors come with it.
type page struct {
	Keys []string `json:"keys"`
	Last bool     `json:"last"`
}

// predecessor is the process that had the sockets.
type predecessor struct{ conn *net.UnixConn }

// Ask takes the sockets of the process that offers them at a path over, if there is one. It is to be called before anything listens.
func (s *Sockets) Ask(path string) (found bool, err error) {
	conn, err := net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for the sockets at %s: %w", path, err)
	}
	if err := same(conn); err != nil {
		return false, errors.Join(fmt.Errorf("asking for the sockets at %s: %w", path, err), conn.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.begun = &predecessor{conn}, make(chan struct{})
	if err := s.fetch(); err != nil {
		s.begin()
		return false, fmt.Errorf("asking for the sockets at %s: %w", path, err)
	}
	return true, nil
}

// fetch asks for the sockets. Those that are open here already are not needed twice. s.mu is held.
func (s *Sockets) fetch() error {
	conn := s.first.conn
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(wordAgain)); err != nil {
		return err
	}
	for {
		p, files, err := receive(conn)
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

// again asks for sockets that the process before may have opened since it was asked; false: there is none.
func (s *Sockets) again() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first != nil && s.fetch() == nil
}

// Serve says that this process is ready: the one before lets go of the sockets, and they are accepted from here. Those that nobody has asked for are closed.
func (s *Sockets) Serve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return nil
	}
	defer s.begin() // if the other one is gone, all the more so
	conn := s.first.conn
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(wordServing)); err != nil {
		return fmt.Errorf("telling the process before: %w", err)
	}
	answer := make([]byte, len(wordYours)+1)
	if n, err := conn.Read(answer); err != nil || string(answer[:n]) != wordYours {
		return fmt.Errorf("waiting for the process before: it said %q: %w", answer[:n], err)
	}
	return nil
}

// begin has sockets be accepted from. s.mu is held.
func (s *Sockets) begin() {
	_ = s.first.conn.Close()
	s.first = nil
	for _, f := range s.kept {
		_ = f.Close()
	}
	clear(s.kept)
	close(s.begun)
	s.begun = nil
}

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

func sendPage(conn *net.UnixConn, part []*held) error {
	var p page
	var descriptors []int
	defer func() {
		for _, d := range descriptors {
			_ = unix.Close(d)
		}
	}()
	for _, h := range part {
		d := -1
		if err := h.descriptor.Control(func(fd uintptr) { d, _ = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || d < 0 {
			continue // it is closed by now
		}
		p.Keys, descriptors = append(p.Keys, h.key), append(descriptors, d)
	}
	text, err := json.Marshal(p)
	if err != nil || len(descriptors) == 0 {
		return err
	}
	_, _, err = conn.WriteMsgUnix(text, unix.UnixRights(descriptors...), nil)
	return err
}

// receive reads one page and its descriptors.
func receive(conn *net.UnixConn) (p page, files []*os.File, err error) {
	text, rights := make([]byte, longest), make([]byte, unix.CmsgSpace(batch*4))
	n, m, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return p, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil {
		return p, nil, fmt.Errorf("reading descriptors: %w", err)
	}
	for i := range messages {
		descriptors, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return p, nil, fmt.Errorf("reading descriptors: %w", err)
		}
		for _, d := range descriptors {
			files = append(files, os.NewFile(uintptr(d), "taken over"))
		}
	}
	if err = json.Unmarshal(text[:n], &p); err == nil && len(p.Keys) != len(files) {
		err = fmt.Errorf("%d descriptors for %d sockets", len(files), len(p.Keys))
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
	}
	return p, files, err
}

// same wants the other end to be of the same user.
func same(conn *net.UnixConn) error {
	descriptor, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var who *unix.Ucred
	if err := errors.Join(descriptor.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }), err); err != nil {
		return err
	}
	if int(who.Uid) != os.Geteuid() {
		return fmt.Errorf("it is user %d's, not %d's", who.Uid, os.Geteuid())
	}
	return nil
}
