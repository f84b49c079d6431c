package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// hosts and routes of the table that Heddle matches; requests spread over them.
const hosts, routes = 100, 10

var body = bytes.Repeat([]byte("x"), 64)

// loaded is what a load saw.
type loaded struct {
	requests int
	p50, p99 time.Duration
}

// load sends requests one after the other on each connection for as long as d.
func load(ctx context.Context, addr string, conns int, d time.Duration) (*loaded, error) {
	restore, err := pin(others)
	if err != nil {
		return nil, err
	}
	defer restore()
	until := time.Now().Add(d)
	var wg sync.WaitGroup
	waits, errs := make([][]time.Duration, conns), make([]error, conns)
	for i := range conns {
		wg.Go(func() { waits[i], errs[i] = client(ctx, addr, i, until) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	all := slices.Concat(waits...)
	if len(all) == 0 {
		return nil, fmt.Errorf("no request was answered")
	}
	slices.Sort(all)
	return &loaded{len(all), all[len(all)/2], all[len(all)*99/100]}, nil
}

func client(ctx context.Context, addr string, i int, until time.Time) ([]time.Duration, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	request := fmt.Appendf(nil, "GET /r%d/item?id=1 HTTP/1.1\r\nHost: svc-%d.shop.svc.cluster.local\r\nUser-Agent: bench\r\nAccept: */*\r\nX-User: jane\r\n\r\n",
		i%routes, i%hosts)
	waits, buf := make([]time.Duration, 0, 1<<16), make([]byte, 4096)
	for now := time.Now(); now.Before(until) && ctx.Err() == nil; {
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		if err := answer(c, buf); err != nil {
			return nil, err
		}
		then := time.Now()
		waits, now = append(waits, then.Sub(now)), then
	}
	return waits, nil
}

// answer reads one response.
func answer(c net.Conn, buf []byte) error {
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return err
		}
		if n += m; bytes.HasSuffix(buf[:n], body) {
			if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
				return fmt.Errorf("answered %q", buf[:n])
			}
			return nil
		}
		if n == len(buf) {
			return fmt.Errorf("answered %q", buf[:n])
		}
	}
}

// backend answers every request with the same bytes.
func backend(ctx context.Context, addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	reply := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil
		}
		go serve(c, reply)
	}
}

func serve(c net.Conn, reply []byte) {
	defer c.Close()
	buf := make([]byte, 4096)
	for n := 0; n < len(buf); {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			if _, err := c.Write(reply); err != nil {
				return
			}
			n = 0
		}
	}
}
