//go:build !race

package http1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// envPeers has the test's binary be the peers of TestCrowdMemory.
const envPeers = "HEDDLE_CROWD_PEERS"

func TestMain(m *testing.M) {
	if os.Getenv(envPeers) != "" {
		(&slowPeers{stop: make(chan struct{})}).obey(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// kind is what a slow client does.
type kind int

const (
	readsNothing kind = iota // of a long answer
	isNotRead                // sends a long request to a backend that reads nothing of it
	dripsBody
	dripsHead
)

// kinds are what slow clients do, by the number of the connection. Fewer hold up what is long: the kernel keeps most of that, and has not so much.
var kinds = [...]kind{readsNothing, isNotRead, dripsBody, dripsHead, dripsBody, dripsHead}

func kindOf(i int) kind { return kinds[i%len(kinds)] }

const (
	drips   = 1000 // bytes of a request that comes one by one
	dripped = 3    // how many of them have come when the client begins to hurry
)

// slowPeers are the clients and the backends.
type slowPeers struct {
	stop     chan struct{}
	answered atomic.Int64 // bytes of long answers that were taken from their backends
	asked    atomic.Int64 // the same of long requests
	clients  []net.Conn
}

// obey does what lines ask for, and says for each that it is done, and perhaps more, or what went wrong.
func (s *slowPeers) obey(in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		addr, count, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(count)
		answer, err := "", error(nil)
		switch word {
		case "backends":
			answer, err = s.backends(4)
		case "join":
			for i := 0; i < n && err == nil; i++ {
				err = s.join(addr, i)
			}
		case "settle":
			answer = s.settle()
		case "drip":
			err = s.drip()
		case "others":
			err = s.others(addr, n)
		case "finish":
			err = s.finishSome()
		case "leave":
			close(s.stop)
			for _, nc := range s.clients {
				nc.Close()
			}
		}
		if err != nil {
			fmt.Fprintln(out, err)
		} else {
			fmt.Fprintln(out, "ok", answer)
		}
	}
}

// narrow has sockets hold as little as the kernel allows, and speak in small segments: else those of the loopback would take megabytes before the
// proxy is held up, and ten thousand all that the kernel has.
func narrow(_, _ string, c syscall.RawConn) error {
	var err error
	out := c.Control(func(fd uintptr) {
		for _, o := range [][3]int{{unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 4 << 10}, {unix.SOL_SOCKET, unix.SO_SNDBUF, 4 << 10}} {
			if err == nil {
				err = unix.SetsockoptInt(int(fd), o[0], o[1], o[2])
			}
		}
	})
	return errors.Join(out, err)
}

// backends answer "/long" at length, read nothing of the body of "/deaf", and answer all else once they have read it.
func (s *slowPeers) backends(n int) (addresses string, err error) {
	lc := net.ListenConfig{Control: narrow}
	for range n {
		ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addresses += " " + ln.Addr().String()
		go func() {
			for {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				go s.serve(nc)
			}
		}()
	}
	return addresses, nil
}

var crowdText = []byte(strings.Repeat("x", crowdBody))

func (s *slowPeers) serve(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 512)
	for {
		head := readHead(r)
		switch {
		case head == "":
			return
		case strings.HasPrefix(head, "POST /deaf "):
			<-s.stop
			return
		case strings.HasPrefix(head, "GET /long "):
			_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", crowdBody)
			push(nc, &s.answered)
			continue
		case strings.HasPrefix(head, "POST /drip "):
			if _, err := io.CopyN(io.Discard, r, drips); err != nil {
				return
			}
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// push writes a long body, and counts what is taken of it.
func push(nc net.Conn, taken *atomic.Int64) {
	for rest := crowdText; len(rest) > 0; {
		n, err := nc.Write(rest[:min(len(rest), 4<<10)])
		if taken.Add(int64(n)); err != nil {
			return
		}
		rest = rest[n:]
	}
}

// dial connects from one of many addresses, each of which has ports of its own.
func dial(addr string, i int) (net.Conn, error) {
	d := net.Dialer{Control: narrow, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}, Timeout: time.Minute}
	return d.Dial("tcp", addr)
}

// join opens slow connection i.
func (s *slowPeers) join(addr string, i int) error {
	nc, err := dial(addr, i)
	if err != nil {
		return fmt.Errorf("connection %d: %w", i, err)
	}
	s.clients = append(s.clients, nc)
	text := "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"
	switch kindOf(i) {
	case isNotRead:
		text = fmt.Sprintf("POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", crowdBody)
	case dripsBody:
		text = fmt.Sprintf("POST /drip HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", drips)
	case dripsHead:
		text = "GET /head HTTP/1.1\r\nHost: a\r\nX: "
	}
	if _, err := io.WriteString(nc, text); err != nil {
		return fmt.Errorf("connection %d: %w", i, err)
	}
	if kindOf(i) == isNotRead {
		go push(nc, &s.asked)
	}
	return nil
}

// settle waits until the long messages have come as far as they do, and says how many bytes of each were taken, of those of the kind of which fewer were.
func (s *slowPeers) settle() string {
	last, since := int64(-1), time.Now()
	for until := time.Now().Add(crowdWait); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if sum := s.asked.Load() + s.answered.Load(); sum != last {
			last, since = sum, time.Now()
		} else if sum > 0 && time.Since(since) > 2*time.Second {
			break
		}
	}
	return strconv.FormatInt(min(s.asked.Load(), s.answered.Load())/int64(max(len(s.clients)/len(kinds), 1)), 10)
}

// drip sends one more byte on each connection whose client writes slowly.
func (s *slowPeers) drip() error {
	for i, nc := range s.clients {
		if k := kindOf(i); k == dripsBody || k == dripsHead {
			if _, err := io.WriteString(nc, "x"); err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
		}
	}
	return nil
}

// finishSome has some of the clients do the rest at once. Those that nobody reads cannot.
func (s *slowPeers) finishSome() error {
	for i := range min(len(s.clients), 10*len(kinds)) {
		if kindOf(i) == isNotRead {
			continue
		}
		if got := s.finish(i); got != "HTTP/1.1 200 OK" {
			return fmt.Errorf("connection %d, once it hurries: %s", i, got)
		}
	}
	return nil
}

// finish does the rest of one connection, and returns what its client gets.
func (s *slowPeers) finish(i int) string {
	nc, rest, length := s.clients[i], "", 2
	_ = nc.SetDeadline(time.Now().Add(crowdWait))
	switch kindOf(i) {
	case readsNothing:
		length = crowdBody
	case dripsBody:
		rest = strings.Repeat("x", drips-dripped)
	case dripsHead:
		rest = "\r\n\r\n"
	}
	if _, err := io.WriteString(nc, rest); err != nil {
		return err.Error()
	}
	r := bufio.NewReader(nc)
	head := readHead(r)
	if n, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
		return fmt.Sprintf("%q, and %d of %d bytes: %v", head, n, length, err)
	}
	status, _, _ := strings.Cut(head, "\r\n")
	return status
}

// others makes requests on new connections, as clients do that are not slow.
func (s *slowPeers) others(addr string, n int) error {
	for i := range n {
		nc, err := dial(addr, i)
		if err != nil {
			return fmt.Errorf("another connection: %w", err)
		}
		_ = nc.SetDeadline(time.Now().Add(crowdWait))
		_, _ = io.WriteString(nc, "GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(nc)
		nc.Close()
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 OK") || !strings.HasSuffix(string(got), "ok") {
			return fmt.Errorf("another request got %q, %w", got, err)
		}
	}
	return nil
}
