package differential

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// reply is what the application does with a request.
type reply struct {
	raw   string // bytes of the response; of HTTP/2's, written as HTTP/1.1 would be
	early bool   // answer before the body has come
	end   ending
	wait  bool // say nothing until the proxy ends the connection
}

// ending is what becomes of the application's connection.
type ending int

const (
	stay    ending = iota
	hangUp         // FIN
	abandon        // RST
)

// The replies that most cases have.
var (
	fine    = reply{raw: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
	silence = reply{wait: true}
)

func says(raw string) reply { return reply{raw: raw} }

func (r reply) then(e ending) reply { r.end = e; return r }

func status(code int) reply {
	return says(fmt.Sprintf("HTTP/1.1 %d Odd\r\nContent-Length: 4\r\n\r\nbody", code))
}

// arrival is a request as the application saw it.
type arrival struct {
	to    string // the listener's name
	line  string
	lines []string // header fields, in order
	body  string
	tail  []string // trailers
	cut   bool     // it ended in the middle
	done  bool     // its body has been read
}

// application answers requests by the scripts that cases register, and keeps what arrived.
type application struct {
	t  *testing.T
	mu sync.Mutex
	// of a case, by its id
	scripts  map[string][]reply
	arrivals map[string][]arrival
	strays   []string // requests of no case
}

func newApplication(t *testing.T) *application {
	return &application{t: t, scripts: map[string][]reply{}, arrivals: map[string][]arrival{}}
}

// listen serves HTTP/1 raw, or HTTP/2 with prior knowledge, and returns the port.
func (a *application) listen(name string, serve func(name string, c net.Conn)) string {
	a.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(name, c)
		}
	}()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (a *application) script(id string, replies []reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scripts[id] = replies
}

// seen are the requests of a case that arrived whole: what a proxy gave up in the middle counts for nothing. The application's comes before its shadow.
func (a *application) seen(id string) []arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(a.arrivals[id]), func(in arrival) bool { return in.cut })
	slices.SortStableFunc(out, func(x, y arrival) int { return strings.Compare(x.to, y.to) })
	return out
}

// settled says whether at least so many requests of a case have arrived, and all of them have ended.
func (a *application) settled(id string, atLeast int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.arrivals[id]
	return len(all) >= atLeast && !slices.ContainsFunc(all, func(in arrival) bool { return !in.done })
}

// identity is how a request says which case it belongs to: a header field, or any part of the head.
var caseID = regexp.MustCompile(`\b[eh]id[0-9]+\b`)

// take notes an arrival; the reply is the case's nth.
func (a *application) take(in arrival) (reply, func(arrival)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := caseID.FindString(in.line + "\n" + strings.Join(in.lines, "\n"))
	if strings.HasPrefix(in.line, "GET /probe ") {
		return says("HTTP/1.1 200 OK\r\nX-Probe: yes\r\nContent-Length: 5\r\n\r\nprobe"), func(arrival) {}
	}
	if id == "" {
		a.strays = append(a.strays, fmt.Sprintf("%s %q", in.line, in.lines))
		return says("HTTP/1.1 200 OK\r\nX-Stray: yes\r\nContent-Length: 0\r\n\r\n"), func(arrival) {}
	}
	n := len(a.arrivals[id])
	a.arrivals[id] = append(a.arrivals[id], in)
	r := fine
	if s := a.scripts[id]; len(s) > 0 {
		r = s[min(n, len(s)-1)]
	}
	if in.to == "shadow" {
		r = fine
	}
	return r, func(in arrival) {
		a.mu.Lock()
		defer a.mu.Unlock()
		in.done = true
		a.arrivals[id][n] = in
	}
}

// http1 serves one connection without a parser that would forgive anything.
func (a *application) http1(name string, c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		in, err := readArrival(r)
		in.to = name
		if err != nil {
			if in.line != "" {
				a.mu.Lock()
				a.strays = append(a.strays, fmt.Sprintf("%v: %q %q", err, in.line, in.lines))
				a.mu.Unlock()
			}
			return
		}
		answer, amend := a.take(in)
		switch {
		case answer.early:
			_, _ = io.WriteString(c, answer.raw)
		case slices.ContainsFunc(in.lines, func(l string) bool { return strings.EqualFold(l, "Expect: 100-continue") }):
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		in.body, in.tail, err = readBody(r, in.lines)
		if in.cut = err != nil; in.cut {
			in.body = "" // how much of it came is chance
		}
		amend(in)
		switch {
		case err != nil:
			return
		case answer.wait:
			_, _ = io.Copy(io.Discard, r)
			return
		case !answer.early:
			_, _ = io.WriteString(c, answer.raw)
		}
		if strings.HasPrefix(answer.raw, "HTTP/1.1 101") || strings.HasPrefix(in.line, "CONNECT ") {
			_, _ = io.Copy(c, r) // echo
			return
		}
		switch answer.end {
		case hangUp:
			return
		case abandon:
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
	}
}

var errSyntax = errors.New("no request")

// readArrival reads a request's head.
func readArrival(r *bufio.Reader) (arrival, error) {
	var in arrival
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return in, err
		}
		line, ok := strings.CutSuffix(line, "\r\n")
		switch {
		case !ok:
			in.line += line
			return in, errSyntax
		case in.line == "":
			in.line = line
		case line == "":
			return in, nil
		default:
			in.lines = append(in.lines, line)
		}
	}
}

// mostBody is more than any case sends.
const mostBody = 10 << 20

// readBody reads a body as its head frames it; chunked wins.
func readBody(r *bufio.Reader, lines []string) (body string, tail []string, err error) {
	length := 0
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "transfer-encoding":
			return readChunks(r)
		case "content-length":
			if length, err = strconv.Atoi(value); err != nil || length < 0 || length > mostBody {
				return "", nil, errSyntax
			}
		}
	}
	data := make([]byte, length)
	n, err := io.ReadFull(r, data)
	return string(data[:n]), nil, err
}

func readChunks(r *bufio.Reader) (body string, tail []string, err error) {
	var out bytes.Buffer
	line := func() string {
		var l string
		if err == nil {
			l, err = r.ReadString('\n')
		}
		return strings.TrimRight(l, "\r\n")
	}
	for err == nil {
		size, _, _ := strings.Cut(line(), ";")
		if err != nil {
			break
		}
		var n int64
		if n, err = strconv.ParseInt(strings.TrimSpace(size), 16, 32); err != nil {
			break
		}
		if n == 0 {
			for l := line(); l != ""; l = line() {
				tail = append(tail, l)
			}
			break
		}
		if _, err = io.CopyN(&out, r, n); err == nil {
			line()
		}
	}
	return out.String(), tail, err
}

// http2 serves one connection with Go's own server.
func (a *application) http2(name string, c net.Conn) {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &only, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.stream(name, w, r) })}
	_ = server.Serve(&single{conn: c}) // it ends where there is no second connection, and serves the first one on
}

// single is a listener with one connection.
type single struct{ conn net.Conn }

func (s *single) Accept() (c net.Conn, err error) {
	if c, s.conn = s.conn, nil; c == nil {
		return nil, io.EOF
	}
	return c, nil
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return &net.TCPAddr{} }

func (a *application) stream(name string, w http.ResponseWriter, r *http.Request) {
	in := arrival{to: name, line: r.Method + " " + r.RequestURI + " HTTP/2", lines: []string{"host: " + r.Host}}
	for name, values := range r.Header {
		for _, v := range values {
			in.lines = append(in.lines, name+": "+v)
		}
	}
	answer, amend := a.take(in)
	body, err := io.ReadAll(r.Body)
	in.body, in.cut = string(body), err != nil
	if in.cut {
		in.body = ""
	}
	for name, values := range r.Trailer {
		in.tail = append(in.tail, name+": "+strings.Join(values, ","))
	}
	amend(in)
	if answer.wait {
		<-r.Context().Done()
		return
	}
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer.raw)), r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
	for name, values := range response.Trailer {
		for _, v := range values {
			w.Header().Add(http.TrailerPrefix+name, v)
		}
	}
	if answer.end != stay {
		panic(http.ErrAbortHandler) // RST_STREAM
	}
}
