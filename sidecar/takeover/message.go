package takeover

import (
	"encoding/json"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// network is what messages keep their borders in.
const network = "unixpacket"

// page is some of the sockets; its descriptors come with it.
type page struct {
	Keys []string `json:"keys"`
	Last bool     `json:"last"`
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

// receive reads one page and its descriptors, or ErrTaken.
func receive(conn *net.UnixConn) (p page, files []*os.File, err error) {
	text, rights := make([]byte, longest), make([]byte, unix.CmsgSpace(batch*4))
	n, m, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return p, nil, err
	}
	files, err = descriptors(rights[:m])
	switch {
	case err != nil:
	case string(text[:n]) == wordTaken:
		err = ErrTaken
	default:
		if err = json.Unmarshal(text[:n], &p); err == nil && len(p.Keys) != len(files) {
			err = fmt.Errorf("%d descriptors for %d sockets", len(files), len(p.Keys))
		}
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return p, nil, err
	}
	return p, files, nil
}

// descriptors are those of control messages; also with an error: they are open.
func descriptors(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	for i := range messages {
		all, failed := unix.ParseUnixRights(&messages[i])
		if failed != nil {
			err = failed
		}
		for _, d := range all {
			files = append(files, os.NewFile(uintptr(d), "taken over"))
		}
	}
	if err != nil {
		err = fmt.Errorf("reading descriptors: %w", err)
	}
	return files, err
}

// same wants the other end to be of the same user.
func (s *Sockets) same(conn *net.UnixConn) error {
	descriptor, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var who *unix.Ucred
	var failed error
	if err := descriptor.Control(func(fd uintptr) { who, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("finding out whose it is: %w", failed)
	}
	if int(who.Uid) != s.user {
		return fmt.Errorf("it is user %d's, not %d's", who.Uid, s.user)
	}
	return nil
}
