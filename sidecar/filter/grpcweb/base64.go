package grpcweb

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
)

var errBase64 = errors.New("no base64")

// decoder reads base64 that comes in pieces and may be padded at the end of each message.
type decoder struct {
	out  []byte
	rest [4]byte // begun and not complete
	n    int
}

// even says whether nothing is begun.
func (d *decoder) even() bool { return d.n == 0 }

// decode appends what p says to out.
func (d *decoder) decode(p []byte) error {
	if d.n > 0 {
		n := copy(d.rest[d.n:], p)
		d.n, p = d.n+n, p[n:]
		if d.n < len(d.rest) {
			return nil
		}
		d.n = 0
		if err := d.quanta(d.rest[:]); err != nil {
			return err
		}
	}
	for len(p) >= 4 {
		n := len(p) &^ 3
		if pad := bytes.IndexByte(p[:n], '='); pad >= 0 { // a message ends, another may follow
			n = pad&^3 + 4
		}
		if err := d.quanta(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	d.n = copy(d.rest[:], p)
	return nil
}

func (d *decoder) quanta(p []byte) error {
	if bytes.ContainsAny(p, "\r\n") { // which package base64 would skip
		return errBase64
	}
	n := len(d.out)
	d.out = slices.Grow(d.out, base64.StdEncoding.DecodedLen(len(p)))
	got, err := base64.StdEncoding.Decode(d.out[n:cap(d.out)], p)
	d.out = d.out[:n+got]
	return err
}

// encoder writes gRPC messages in base64, each padded at its end, so that the client can read it as soon as it has come.
type encoder struct {
	out  []byte
	rest [3]byte // of a message, not yet written
	n    int

	head  [5]byte // of the message in progress: its flags and length
	heads int     // bytes of it that have come
	left  int64   // bytes of the message that have not
}

// messages appends p, a piece of the body, to out.
func (e *encoder) messages(p []byte) {
	for len(p) > 0 {
		var n int
		if e.heads < len(e.head) {
			n = copy(e.head[e.heads:], p)
			if e.heads += n; e.heads == len(e.head) {
				e.left = int64(binary.BigEndian.Uint32(e.head[1:]))
			}
		} else {
			n = int(min(e.left, int64(len(p))))
			e.left -= int64(n)
		}
		e.put(p[:n])
		p = p[n:]
		if e.heads == len(e.head) && e.left == 0 {
			e.pad()
			e.heads = 0
		}
	}
}

// put appends bytes of a message.
func (e *encoder) put(p []byte) {
	if e.n > 0 {
		n := copy(e.rest[e.n:], p)
		e.n, p = e.n+n, p[n:]
		if e.n < len(e.rest) {
			return
		}
		e.out = base64.StdEncoding.AppendEncode(e.out, e.rest[:])
	}
	whole := len(p) / 3 * 3
	e.out = base64.StdEncoding.AppendEncode(e.out, p[:whole])
	e.n = copy(e.rest[:], p[whole:])
}

// pad ends a message.
func (e *encoder) pad() {
	e.out = base64.StdEncoding.AppendEncode(e.out, e.rest[:e.n])
	e.n = 0
}
