package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// given is a connection that gives bytes in pieces, and takes nothing.
type given struct {
	net.Conn
	data  []byte
	piece int
}

func (g *given) Read(p []byte) (int, error) {
	if len(g.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(1, g.piece))], g.data)
	g.data = g.data[n:]
	return n, nil
}

func (g *given) Close() error                     { return nil }
func (g *given) SetDeadline(time.Time) error      { return nil }
func (g *given) SetReadDeadline(time.Time) error  { return nil }
func (g *given) SetWriteDeadline(time.Time) error { return nil }
func (g *given) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (g *given) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// message is what came of reading one.
type message struct {
	head     exchange.Head
	body     []byte
	trailers exchange.Head
	rest     []byte
}

// readRequest reads one request, and whatever follows it.
func readRequest(data []byte, piece int) (*message, error) {
	var src source
	src.init(&given{data: data, piece: piece}, nil)
	m, f := &message{}, framing{}
	for scanned := 0; ; {
		n, next, ok := headEnd(src.unread(), scanned)
		if !ok || n > maxHead {
			return nil, exchange.ErrProtocol
		}
		if n > 0 {
			if err := parseRequest(src.unread()[:n], &m.head, &f, maxFields); err != nil {
				return nil, err
			}
			src.r += n
			src.keep = src.r
			break
		}
		scanned = next
		if err := src.fill(); err != nil {
			return nil, err
		}
	}
	b := body{src: &src}
	switch {
	case f.chunked:
		b.begin(chunked, 0, &m.trailers)
	case f.length > 0:
		b.begin(length, f.length, nil)
	}
	for end := b.over(); !end; {
		p, last, err := b.read()
		if err != nil {
			return nil, err
		}
		m.body, end = append(m.body, p...), last
	}
	m.rest = append(m.rest, src.unread()...)
	return m, nil
}

var requests = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET",
	"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\nrest",
	"GET http://b/c?d HTTP/1.0\r\nConnection: x, y\r\nX: 1\r\nContent-Length: 0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n",
	"OPTIONS * HTTP/1.1\r\nHost: \r\nA: \t b \t\r\n\r\n",
}

// FuzzRequest: the parser never panics, reads the same whatever the pieces, and agrees with net/http on whatever both
// accept. It may be stricter; where it accepts, so does net/http, and they see the same message.
func FuzzRequest(f *testing.F) {
	for _, r := range requests {
		f.Add([]byte(r), 7)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		whole, err := readRequest(bytes.Clone(data), 1<<20)
		parts, err2 := readRequest(bytes.Clone(data), piece&63)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("whole: %v, in pieces: %v", err, err2)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(whole.body, parts.body) || len(whole.head.Fields) != len(parts.head.Fields) {
			t.Fatalf("pieces change the message: %q and %q", whole.body, parts.body)
		}
		differ(t, data, whole)
	})
}

// differ compares with net/http.
func differ(t *testing.T, data []byte, m *message) {
	rd := bufio.NewReader(bytes.NewReader(bytes.TrimLeft(data, "\r\n")))
	r, err := http.ReadRequest(rd)
	if err != nil {
		if strings.Contains(err.Error(), "invalid URI") || strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "trailer") || strings.Contains(err.Error(), "invalid method") {
			return // paths are judged later, by forward
		}
		t.Fatalf("net/http refuses what we accept: %v", err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("net/http refuses the body of %q: %v", data, err)
	}
	if !bytes.Equal(body, m.body) {
		t.Fatalf("net/http reads body %q, we read %q", body, m.body)
	}
	if r.Method != m.head.Method.Copy() {
		t.Fatalf("net/http reads method %q, we read %q", r.Method, m.head.Method)
	}
	left, _ := io.ReadAll(rd)
	if !bytes.HasPrefix(left, m.rest) { // net/http need not have read the rest
		t.Fatalf("net/http leaves %q, we leave %q", left, m.rest)
	}
}

// readChunks reads a chunked body, and whatever follows it.
func readChunks(data []byte, piece int) (content, rest []byte, err error) {
	var src source
	var trailers exchange.Head
	g := &given{data: data, piece: piece}
	src.init(g, nil)
	b := body{src: &src}
	b.begin(chunked, 0, &trailers)
	for end := false; !end; {
		var p exchange.View
		if p, end, err = b.read(); err != nil {
			return nil, nil, err
		}
		content = append(content, p...)
	}
	return content, append(bytes.Clone(src.unread()), g.data...), nil
}

// FuzzChunks: a chunked body is read the same whatever the pieces, and net/http, where it accepts it too, sees the same bytes.
func FuzzChunks(f *testing.F) {
	for _, r := range []string{
		"0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\nrest", "3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\nrest", "A ;\"q\"\r\n0123456789\r\n00\r\n\r\n",
		"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "ffffffffffffffff\r\na", "3\nabc\n0\n\n", "3\r\nabcd\r\n0\r\n\r\n", "-1\r\n", "0x1\r\na\r\n0\r\n\r\n",
	} {
		f.Add([]byte(r), 7)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		whole, rest, err := readChunks(bytes.Clone(data), 1<<20)
		parts, _, err2 := readChunks(bytes.Clone(data), piece&63)
		if (err == nil) != (err2 == nil) || !bytes.Equal(whole, parts) {
			t.Fatalf("whole: %q %v, in pieces: %q %v", whole, err, parts, err2)
		}
		if err != nil {
			return
		}
		rd := bufio.NewReader(bytes.NewReader(data))
		theirs, err := io.ReadAll(httputil.NewChunkedReader(rd))
		if err != nil {
			return // it may be stricter about extensions
		}
		if !bytes.Equal(theirs, whole) {
			t.Fatalf("net/http reads %q, we read %q", theirs, whole)
		}
		if left, _ := io.ReadAll(rd); !bytes.HasSuffix(left, rest) { // it has not read the trailers
			t.Fatalf("net/http leaves %q, we leave %q", left, rest)
		}
	})
}

// FuzzResponse: the transport never panics, and never takes for reusable a connection whose answer was not complete.
func FuzzResponse(f *testing.F) {
	for _, r := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nall",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes",
	} {
		f.Add([]byte(r), 5, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece int, get bool) {
		tr, _ := NewTransport(&sinking{given{data: bytes.Clone(data), piece: piece & 63}}, &exchange.TransportInfo{})
		s, _ := tr.Open()
		var req, resp exchange.Head
		req.Method, req.Path, req.Authority = exchange.View("HEAD"), rootPath, exchange.View("a")
		if get {
			req.Method = exchange.View("GET")
		}
		if err := s.WriteHead(&req, true); err != nil {
			t.Fatal(err)
		}
		end, err := false, error(nil)
		for err == nil && resp.Status < 200 {
			resp.Reset()
			if end, err = s.ReadHead(&resp); err == nil && resp.Status == 101 {
				t.Fatal("a switch that nobody asked for")
			}
		}
		for err == nil && !end {
			_, end, err = s.ReadBody()
		}
		if reusable := s.Reusable(); reusable && err != nil {
			t.Fatalf("reusable after %v", err)
		}
		s.Close()
	})
}

// sinking is given that takes what is written.
type sinking struct{ given }

func (s *sinking) Write(p []byte) (int, error) { return len(p), nil }

// TestHeadsThatAreNone: what another codec let through must not become two requests here.
func TestHeadsThatAreNone(t *testing.T) {
	for name, h := range map[string]exchange.Head{
		"path":      {Method: exchange.View("GET"), Path: exchange.View("/ HTTP/1.1\r\nx: y"), Authority: exchange.View("a")},
		"no path":   {Method: exchange.View("GET"), Authority: exchange.View("a")},
		"query":     {Method: exchange.View("GET"), Path: exchange.View("?x=1"), Authority: exchange.View("a")},
		"no slash":  {Method: exchange.View("GET"), Path: exchange.View("a/b"), Authority: exchange.View("a")},
		"asterisk":  {Method: exchange.View("GET"), Path: exchange.View("*"), Authority: exchange.View("a")},
		"authority": {Method: exchange.View("GET"), Path: rootPath, Authority: exchange.View("a\r\nx: y")},
		"method":    {Method: exchange.View("GET / HTTP/1.1\r\n"), Path: rootPath},
		"length":    {Method: exchange.View("GET"), Path: rootPath, Fields: []exchange.Field{{Name: exchange.View("content-length"), Value: exchange.View("5")}}},
	} {
		tr, _ := NewTransport(&sinking{}, &exchange.TransportInfo{})
		s, _ := tr.Open()
		if err := s.WriteHead(&h, true); err != exchange.ErrUnfit || s.Reusable() {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for want, body := range map[error]string{nil: "12345", exchange.ErrProtocol: "123456"} {
		tr, _ := NewTransport(&sinking{}, &exchange.TransportInfo{})
		s, _ := tr.Open()
		h := exchange.Head{Method: exchange.View("POST"), Path: rootPath, Fields: []exchange.Field{{Name: exchange.View("content-length"), Value: exchange.View("5")}}}
		if err := s.WriteHead(&h, false); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteBody([]byte(body), true); err != want {
			t.Errorf("a body of %d declared as 5: got %v", len(body), err)
		}
	}
}

// TestHeadsAreJudgedWithWhatTheyAskOfTheConnection: what routes and policies may name is in the head.
func TestHeadsAreJudgedWithWhatTheyAskOfTheConnection(t *testing.T) {
	for lines, want := range map[string]string{
		"Connection: Upgrade\r\nUpgrade: websocket\r\n":              "connection=Upgrade",
		"Connection: keep-alive, upgrade\r\nUpgrade: x\r\n":          "connection=keep-alive, upgrade",
		"Connection: x-a, upgrade\r\nUpgrade: x\r\nX-A: 1\r\n":       "connection=x-a, upgrade",
		"Connection: upgrade\r\n":                                    "",
		"Connection: close\r\nUpgrade: x\r\n":                        "",
		"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\n":    "",
		"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n": "content-length=1",
		"TE: trailers\r\n":                       "te=trailers",
		"TE: gzip, Trailers\r\nTE: trailers\r\n": "te=trailers",
		"TE: gzip\r\n":                           "",
		"TE: trailers\r\nConnection: te\r\n":     "",
		"Keep-Alive: 1\r\nProxy-Connection: x\r\nConnection: close\r\n": "",
	} {
		var h exchange.Head
		var f framing
		if err := parseRequest([]byte("GET / HTTP/1.1\r\nHost: a\r\n"+lines+"\r\n"), &h, &f, 100); err != nil {
			t.Errorf("%q: %v", lines, err)
		}
		var got []string
		for _, x := range h.Fields {
			got = append(got, string(x.Name)+"="+string(x.Value))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: got %q, want %q", lines, s, want)
		}
	}
}
