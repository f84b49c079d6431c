package differential

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// stream is a request over HTTP/2, as it is framed.
type stream struct {
	head [][2]string
	body []string // a DATA frame each
	tail [][2]string
	open bool // the stream's end is not said
	// split writes the header block in two frames
	split bool
}

// named puts a case's id in place.
func (s *stream) named(id string) *stream {
	out := *s
	out.head = slices.Clone(s.head)
	for i := range out.head {
		out.head[i][1] = strings.ReplaceAll(out.head[i][1], "@ID@", id)
	}
	return &out
}

// client is one HTTP/2 connection.
type client struct {
	nc      net.Conn
	fr      *http2.Framer
	enc     *hpack.Encoder
	block   bytes.Buffer
	answers []answer
	current map[uint32]*answer
	over    bool
}

// window is what a client takes without asking for more: more than any answer has.
const window = 1 << 20

// callHTTP2 sends a request as stream 1, and asks once more as stream 3.
func callHTTP2(nc net.Conn, s *stream) (answers []answer, fate string) {
	_ = nc.SetDeadline(time.Now().Add(patience))
	_, _ = nc.Write([]byte(http2.ClientPreface))
	c := &client{nc: nc, fr: http2.NewFramer(nc, nc), current: map[uint32]*answer{}}
	c.fr.AllowIllegalWrites = true
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	_ = c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	_ = c.fr.WriteWindowUpdate(0, window)
	c.request(1, s)
	c.read(1)
	if c.over {
		return c.answers, "closed"
	}
	before := len(c.answers)
	c.request(3, &stream{head: [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "probe.test"}, {":path", "/probe"}}})
	c.read(3)
	answers, fate = c.answers[:before], "closed"
	if n := len(c.answers); n > before && c.answers[n-1].body == "probe" {
		fate = "kept"
	}
	return answers, fate
}

func (c *client) encode(fields [][2]string) []byte {
	c.block.Reset()
	for _, f := range fields {
		_ = c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return slices.Clone(c.block.Bytes())
}

func (c *client) request(id uint32, s *stream) {
	block := c.encode(s.head)
	whole := len(s.body) == 0 && s.tail == nil && !s.open
	if s.split {
		half := len(block) / 2
		_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:half], EndStream: whole})
		_ = c.fr.WriteContinuation(id, true, block[half:])
	} else {
		_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: whole, EndHeaders: true})
	}
	for i, p := range s.body {
		_ = c.fr.WriteData(id, i == len(s.body)-1 && s.tail == nil && !s.open, []byte(p))
	}
	if s.tail != nil {
		_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encode(s.tail), EndStream: true, EndHeaders: true})
	}
}

// read reads until a stream's answer is whole, or the connection is over.
func (c *client) read(id uint32) {
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			if c.over = true; !closed(err) {
				c.answers = append(c.answers, answer{line: "nothing: " + err.Error()})
			}
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.fr.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = c.fr.WritePing(true, f.Data)
			}
		case *http2.GoAwayFrame:
			c.answers = append(c.answers, answer{line: fmt.Sprintf("GOAWAY %v", f.ErrCode)})
			c.over = f.ErrCode != http2.ErrCodeNo
			if c.over {
				return
			}
		case *http2.RSTStreamFrame:
			if f.StreamID != id {
				continue
			}
			if a := c.current[id]; a != nil {
				a.cut = fmt.Sprintf("RST_STREAM %v", f.ErrCode)
				c.answers = append(c.answers, *a)
			} else {
				c.answers = append(c.answers, answer{line: fmt.Sprintf("RST_STREAM %v", f.ErrCode)})
			}
			return
		case *http2.MetaHeadersFrame:
			if c.headers(f) && f.StreamID == id {
				return
			}
		case *http2.DataFrame:
			if a := c.current[f.StreamID]; a != nil {
				a.body += string(f.Data())
				if f.StreamEnded() {
					c.answers = append(c.answers, *a)
					return
				}
			}
		}
	}
}

// headers takes a header block in; true: it ended its stream.
func (c *client) headers(f *http2.MetaHeadersFrame) bool {
	a := c.current[f.StreamID]
	var lines []string
	for _, h := range f.RegularFields() {
		lines = append(lines, h.Name+": "+h.Value)
	}
	switch status := f.PseudoValue("status"); {
	case status == "" && a != nil:
		a.tail = lines
	case strings.HasPrefix(status, "1"):
		c.answers = append(c.answers, answer{line: "HTTP/2 " + status, lines: lines})
		return false
	default:
		a = &answer{line: "HTTP/2 " + status, lines: lines}
		c.current[f.StreamID] = a
	}
	if f.StreamEnded() {
		c.answers = append(c.answers, *a)
		return true
	}
	return false
}
