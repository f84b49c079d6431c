package http2

import (
	"io"
	"net"
	"sync"
)

const (
	smallInput = 2 << 10
	largeInput = 16 << 10
)

// input buffers what is read. It waits with a small buffer, and borrows a large one only while reads come back full: an
// idle connection holds little. Only the reading goroutine uses it.
type input struct {
	nc    net.Conn
	pool  *sync.Pool // of *[largeInput]byte
	small [smallInput]byte
	large *[largeInput]byte
	buf   []byte // the one in use; [r:w] is unread
	r, w  int
}

func newInput(nc net.Conn, m *memory) *input {
	in := &input{nc: nc, pool: &m.inputs}
	in.buf = in.small[:]
	return in
}

// Buffered returns how many bytes can be read without the network.
func (in *input) Buffered() int { return in.w - in.r }

// choose takes the buffer for the next read by how much the last one brought. Nothing is unread.
func (in *input) choose() {
	switch {
	case in.w < smallInput:
		in.release()
	case in.large == nil:
		if in.large, _ = in.pool.Get().(*[largeInput]byte); in.large == nil {
			in.large = new([largeInput]byte)
		}
		in.buf = in.large[:]
	}
}

// release gives the large buffer back.
func (in *input) release() {
	if in.large != nil {
		in.pool.Put(in.large)
		in.large, in.buf = nil, in.small[:]
	}
	in.r, in.w = 0, 0
}

// Read implements io.Reader. Reads at least as large as the buffer bypass it.
func (in *input) Read(p []byte) (int, error) {
	if in.Buffered() == 0 {
		in.choose()
		if len(p) >= len(in.buf) {
			return in.nc.Read(p)
		}
		n, err := in.nc.Read(in.buf)
		if in.r, in.w = 0, n; n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
	}
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}
