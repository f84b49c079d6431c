package differential

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// patience is how long anything may take on the slowest machine.
const patience = 30 * time.Second

// answer is a response as the client saw it.
type answer struct {
	line  string
	lines []string
	body  string
	tail  []string
	cut   string // why it ended in the middle
}

// Marks within the bytes that a case sends.
const (
	await   = "\x00await\x00"   // until there is a whole answer
	interim = "\x00interim\x00" // until there is a response's head
	shut    = "\x00shut\x00"    // and where nothing is answered for a while, say that nothing more will come
)

var marks = regexp.MustCompile("\x00(await|interim|shut)\x00")

// methodOf finds request lines, to know which answers have no body.
var methodOf = regexp.MustCompile(`(?m)^([A-Z]+) [^\r\n]* HTTP/1\.[01]\r$`)

// caller is one client connection.
type caller struct {
	nc      net.Conn
	r       *bufio.Reader
	methods []string
	answers []answer
	tunnel  bool
	over    bool
}

// call sends a case's bytes and returns its answers, and what became of the connection.
func call(nc net.Conn, send string, want int) (answers []answer, fate string) {
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := &caller{nc: nc, r: bufio.NewReader(nc)}
	for _, m := range methodOf.FindAllStringSubmatch(marks.ReplaceAllString(send, ""), -1) {
		c.methods = append(c.methods, m[1])
	}
	last := false
	for at := 0; at < len(send); {
		next := marks.FindStringIndex(send[at:])
		piece := send[at:]
		if next != nil {
			piece = send[at : at+next[0]]
		}
		_, _ = io.WriteString(nc, piece) // a proxy may have hung up
		if at += len(piece); next == nil {
			break
		}
		switch send[at : at+next[1]-next[0]] {
		case await:
			c.read(true)
		case interim:
			c.read(false)
		case shut:
			last = c.silent()
		}
		at += next[1] - next[0]
	}
	for c.finals() < want && !c.over {
		c.read(true)
	}
	switch {
	case c.tunnel:
		return c.answers, c.echo()
	case last:
		c.drain()
		return c.answers, "closed by both"
	}
	return c.answers, c.probe()
}

// unanswered is how long a proxy may think about bytes that could go on.
const unanswered = 5 * time.Second

// silent ends the client's half where the proxy says nothing.
func (c *caller) silent() bool {
	_ = c.nc.SetReadDeadline(time.Now().Add(unanswered))
	_, err := c.r.Peek(1)
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	if err == nil || closed(err) {
		return false
	}
	_ = c.nc.(interface{ CloseWrite() error }).CloseWrite()
	return true
}

func (c *caller) finals() int {
	n := 0
	for _, a := range c.answers {
		if !strings.HasPrefix(a.line, "HTTP/1.1 1") || strings.HasPrefix(a.line, "HTTP/1.1 101") {
			n++
		}
	}
	return n
}

// read reads one more answer; with final, a final one.
func (c *caller) read(final bool) {
	for !c.over {
		a, err := c.answer()
		if err != nil && a.line == "" {
			c.over = true
			if !closed(err) {
				c.answers = append(c.answers, answer{line: "nothing: " + err.Error()})
			}
			return
		}
		c.answers = append(c.answers, a)
		if a.cut != "" {
			c.over = true
		}
		if !final || !strings.HasPrefix(a.line, "HTTP/1.1 1") || c.tunnel {
			return
		}
	}
}

func closed(err error) bool {
	return err == io.EOF || strings.Contains(err.Error(), "reset by peer") || strings.Contains(err.Error(), "broken pipe")
}

// answer reads one response.
func (c *caller) answer() (a answer, err error) {
	head, err := readArrival(c.r)
	if a.line, a.lines = head.line, head.lines; err != nil {
		return a, err
	}
	method := "GET"
	if n := c.finals(); n < len(c.methods) {
		method = c.methods[n]
	}
	code := 0
	if f := strings.Fields(a.line); len(f) > 1 {
		code, _ = strconv.Atoi(f[1])
	}
	switch {
	case code == 101, method == "CONNECT" && code/100 == 2:
		c.tunnel = true
		return a, nil
	case code/100 == 1, code == 204, code == 304, method == "HEAD":
		return a, nil
	}
	framed := false
	for _, l := range a.lines {
		name, _, _ := strings.Cut(strings.ToLower(l), ":")
		framed = framed || name == "content-length" || name == "transfer-encoding"
	}
	if framed {
		a.body, a.tail, err = readBody(c.r, a.lines)
	} else {
		var data []byte
		data, err = io.ReadAll(c.r)
		a.body, c.over = string(data), true
	}
	if err != nil {
		a.body, a.cut = "", "cut" // how much of it came is chance
	}
	return a, nil
}

// echo uses a tunnel.
func (c *caller) echo() string {
	_, _ = io.WriteString(c.nc, "hello")
	data := make([]byte, len("hello"))
	n, _ := io.ReadFull(c.r, data)
	return fmt.Sprintf("a tunnel that says %q", data[:n])
}

// probe asks once more, to see whether the connection still serves.
func (c *caller) probe() string {
	if c.over {
		return "closed"
	}
	c.methods = append(c.methods[:min(c.finals(), len(c.methods))], "GET")
	_, _ = io.WriteString(c.nc, "GET /probe HTTP/1.1\r\nHost: probe.test\r\n\r\n")
	for range 5 {
		n := len(c.answers)
		if c.read(true); len(c.answers) == n {
			return "closed"
		}
		last := c.answers[len(c.answers)-1]
		if last.body == "probe" {
			c.answers = c.answers[:len(c.answers)-1]
			return "kept"
		}
		if c.over {
			return "closed"
		}
	}
	return "babbling"
}

func (c *caller) drain() {
	for !c.over {
		c.read(true)
	}
}

// underWay is how long a request may take to where nothing shows that it waits.
const underWay = 300 * time.Millisecond

// hold sends a request ahead and returns once it is under way, with what ends it.
func (l *lab) hold(proxy, id string, h hold) (release func()) {
	l.app.script(id, h.replies)
	nc, err := l.dial(proxy, "edge")
	if err != nil {
		return func() {}
	}
	_, _ = io.WriteString(nc, strings.ReplaceAll(request("GET", h.path, "full.test"), "@ID@", id))
	for until := time.Now().Add(patience); !l.app.settled(id, h.reach) && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	if h.reach == 0 {
		time.Sleep(underWay)
	}
	return func() { _ = nc.Close() }
}
