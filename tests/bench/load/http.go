package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// HTTP asks over keep-alive connections, one request at a time on each.
type HTTP struct {
	Address     string
	Connections int
	For         time.Duration
	Request     func(i int) []byte // the request that connection i repeats
	Rate        float64            // requests per second of all connections together; 0: as fast as they are answered
}

// patience is how long a single answer may take.
const patience = 10 * time.Second

// tooMany failures of one connection end it.
const tooMany = 100

// Get is a request for a path of a host.
func Get(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\nX-User: jane\r\n\r\n", path, host)
}

// Run asks until the time is over, and once on each connection at least. After a failure a connection begins anew.
func (h HTTP) Run(ctx context.Context) Seen {
	start := time.Now()
	return all(ctx, h.Connections, func(ctx context.Context, i int) Seen { return h.client(ctx, i, start) })
}

func (h HTTP) client(ctx context.Context, i int, start time.Time) (s Seen) {
	c := &connection{address: h.Address, request: h.Request(i), buf: make([]byte, 64<<10)}
	defer c.close()
	s.Waits = make([]time.Duration, 0, 1<<14)
	until, due, every := start.Add(h.For), start, time.Duration(0)
	if h.Rate > 0 {
		every = time.Duration(float64(h.Connections) / h.Rate * float64(time.Second))
		due = due.Add(every * time.Duration(i) / time.Duration(h.Connections))
	}
	for now := time.Now(); s.Done+s.Failed == 0 || now.Before(until) && ctx.Err() == nil && s.Failed < tooMany; {
		from := now
		if every > 0 {
			from = awaitDue(due)
			due = due.Add(every)
		}
		if err := c.exchange(); err != nil {
			s.fail(err)
			c.close()
		} else {
			s.Done++
		}
		now = time.Now()
		s.Waits = append(s.Waits, now.Sub(from))
	}
	return s
}

// awaitDue sleeps until a request is due, and returns when its wait begins: now, or, where the connection was still busy, when it was due.
func awaitDue(due time.Time) time.Time {
	if d := time.Until(due); d > 0 {
		time.Sleep(d)
		return time.Now()
	}
	return due
}

// connection is a client's connection, dialled when it is needed.
type connection struct {
	address string
	request []byte
	buf     []byte
	nc      net.Conn
}

func (c *connection) close() {
	if c.nc != nil {
		_ = c.nc.Close()
		c.nc = nil
	}
}

// exchange sends the request and reads its answer.
func (c *connection) exchange() error {
	if c.nc == nil {
		nc, err := net.DialTimeout("tcp", c.address, patience)
		if err != nil {
			return err
		}
		c.nc = nc
		if err := nc.SetDeadline(time.Now().Add(time.Hour)); err != nil {
			return err
		}
	}
	if _, err := c.nc.Write(c.request); err != nil {
		return err
	}
	return readAnswer(c.nc, c.buf)
}

var (
	headEnd = []byte("\r\n\r\n")
	length  = []byte("\r\ncontent-length: ")
)

// readAnswer reads one response whose head fits into buf, which must be a 200 with a length.
func readAnswer(nc net.Conn, buf []byte) error {
	n := 0
	for {
		m, err := nc.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
		end := bytes.Index(buf[:n], headEnd)
		if end < 0 {
			if n == len(buf) {
				return fmt.Errorf("a head of more than %d bytes", n)
			}
			continue
		}
		size, err := sizeOf(buf[:end+2])
		if err != nil {
			return err
		}
		return skip(nc, buf, size-(n-end-len(headEnd)))
	}
}

func skip(nc net.Conn, buf []byte, left int) error {
	for left > 0 {
		n, err := nc.Read(buf)
		if err != nil {
			return err
		}
		left -= n
	}
	if left < 0 {
		return fmt.Errorf("%d bytes more than a response", -left)
	}
	return nil
}

// sizeOf reads the length of a body from a head.
func sizeOf(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("answered %q", head)
	}
	for at := 0; at < len(head); {
		next := bytes.IndexByte(head[at+1:], '\r')
		if next < 0 {
			break
		}
		if field := head[at : at+1+next]; len(field) > len(length) && bytes.EqualFold(field[:len(length)], length) {
			return strconv.Atoi(string(bytes.TrimSpace(field[len(length):])))
		}
		at += 1 + next
	}
	return 0, fmt.Errorf("a response without a length: %q", head)
}
