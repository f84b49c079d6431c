package takeover

import (
	"net"
	"os"
	"strings"
)

// removes says whether closing the socket removes its path, where it has one. sockets.mu is held: closing reads it.
func (h *held) removes(does bool) {
	if u, ok := h.socket.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(does)
	}
}

// lend notes that a process that asks has the socket as well: it may serve there when this one has ended. sockets.mu is held.
func (h *held) lend() {
	h.lent++
	h.removes(false)
}

// back notes that such a process has ended. A path that was closed here meanwhile goes. sockets.mu is held.
func (h *held) back() {
	switch h.lent--; {
	case h.lent > 0:
	case h.sockets.open[h]:
		h.removes(true)
	case !h.sockets.has(h.key):
		removePath(h.key)
	}
}

// removePath removes the path of the socket under a key, where it has one.
func removePath(key string) {
	if path, is := strings.CutPrefix(key, "unix "); is && !strings.HasPrefix(path, "@") { // which is no path: unix(7), abstract
		_ = os.Remove(path) // whoever had it may have removed it
	}
}
