package http1

import (
	"bytes"
	"io"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// mode is how a body is delimited.
type mode uint8

const (
	none    mode = iota // there is no body, or it is over
	length              // by content-length
	chunked             // by chunks
	raw                 // by the connection's end
)

// chunk states.
const (
	inSize  uint8 = iota // at a size line
	inData               // inside a chunk
	inBreak              // at the line break after a chunk
	inTail               // at the trailers
)

// maxSizeLine bounds a chunk's size line with its extensions.
const maxSizeLine = 256

// body reads a message body from a source.
type body struct {
	src      *source
	mode     mode
	left     int64 // of the body (length) or of the chunk
	state    uint8
	trailers *exchange.Head
	broken   bool
}

// begin readies the reader for the next body.
func (b *body) begin(m mode, n int64, trailers *exchange.Head) {
	b.mode, b.left, b.state, b.trailers, b.broken = m, n, inSize, trailers, false
	if m == length && n == 0 {
		b.mode = none
	}
}

// over says whether the body has been read to its end.
func (b *body) over() bool { return b.mode == none && !b.broken }

// buffered says whether read would return without reading the connection.
func (b *body) buffered() bool {
	switch b.mode {
	case none:
		return true
	case chunked:
		if b.advance() != nil {
			return true // read will tell
		}
		return b.mode == none || b.state == inData && b.src.r < b.src.w
	}
	return b.src.r < b.src.w
}

// read returns the next piece; end: it is the last one. The piece is valid until the next call.
func (b *body) read() (piece exchange.View, end bool, err error) {
	for {
		if b.mode == chunked {
			if err := b.advance(); err != nil {
				return nil, false, b.fail(err)
			}
		}
		if b.mode == none {
			return nil, true, nil
		}
		if b.src.r < b.src.w && (b.mode != chunked || b.state == inData) {
			return b.take()
		}
		if b.mode == raw || b.left > smallBuffer/2 {
			b.src.enlarge()
		}
		if err := b.src.fill(); err != nil {
			if b.mode == raw && err == io.EOF {
				b.mode = none
				return nil, true, nil
			}
			return nil, false, b.fail(ioError(err))
		}
	}
}

func (b *body) fail(err error) error {
	b.mode, b.broken = none, true
	return err
}

// take hands out what is buffered of the body or chunk.
func (b *body) take() (exchange.View, bool, error) {
	s := b.src
	piece := s.unread()
	if b.mode == raw {
		s.r = s.w
		return piece, false, nil
	}
	if int64(len(piece)) > b.left {
		piece = piece[:b.left]
	}
	s.r += len(piece)
	b.left -= int64(len(piece))
	switch {
	case b.left > 0:
	case b.mode == length:
		b.mode = none
	default:
		b.state = inBreak
		if err := b.advance(); err != nil { // the end may be here already
			return nil, false, b.fail(err)
		}
	}
	return piece, b.mode == none, nil
}

// advance parses what is buffered between chunks; it stops inside a chunk, at the body's end, or where bytes are missing.
func (b *body) advance() error {
	s := b.src
	for b.mode == chunked && b.state != inData {
		if b.state == inTail {
			return b.tail()
		}
		p := s.unread()
		i := bytes.IndexByte(p[:min(len(p), maxSizeLine)], '\n')
		if i < 0 {
			if len(p) >= maxSizeLine {
				return exchange.ErrProtocol
			}
			return nil
		}
		if i == 0 || p[i-1] != '\r' {
			return exchange.ErrProtocol
		}
		line := p[:i-1]
		if b.state == inBreak {
			if len(line) != 0 {
				return exchange.ErrProtocol
			}
			b.state = inSize
		} else if err := b.size(line); err != nil {
			return err
		}
		s.r += i + 1
	}
	return nil
}

// size reads a chunk's size line; extensions are dropped.
func (b *body) size(line []byte) error {
	n, digits := int64(0), 0
	for digits < len(line) && digits < 16 {
		v := exchange.HexDigit(line[digits])
		if v < 0 {
			break
		}
		n, digits = n<<4|int64(v), digits+1
	}
	if digits == 0 || n < 0 {
		return exchange.ErrProtocol
	}
	if rest := trim(line[digits:]); len(rest) > 0 && rest[0] != ';' {
		return exchange.ErrProtocol
	}
	for _, c := range line[digits:] {
		if !valueByte[c] {
			return exchange.ErrProtocol
		}
	}
	b.left, b.state = n, inData
	if n == 0 {
		b.state = inTail
	}
	return nil
}

// tail reads the trailers once they are complete.
func (b *body) tail() error {
	s := b.src
	end, _, ok := headEnd(s.unread(), 0)
	if !ok {
		return exchange.ErrProtocol
	}
	if end == 0 {
		if len(s.unread()) > maxHead/2 {
			return exchange.ErrTooLarge
		}
		return nil
	}
	p := s.unread()[:end]
	s.r += end
	b.mode = none
	if end == 2 {
		return nil
	}
	var f framing
	scratch := b.trailers
	n := len(scratch.Fields)
	if err := parseFields(p, scratch, &f, maxFields); err != nil {
		return err
	}
	own := scratch.Fields[n:]
	kept := scratch.Fields[:n]
	for _, x := range own { // they outlive the buffer that they are in
		switch string(x.Name) {
		case "content-length", "host", "connection", "te", "trailer", "authorization", "content-type":
			continue
		}
		kept = append(kept, exchange.Field{Name: scratch.InternBytes(x.Name), Value: scratch.InternBytes(x.Value)})
	}
	scratch.Fields = kept
	return nil
}
