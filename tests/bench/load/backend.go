package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
)

// body is what backends answer where nothing else is asked for.
var body = bytes.Repeat([]byte("x"), 64)

// Backends by their kind.
func Backends() map[string]func(net.Conn) {
	return map[string]func(net.Conn){"http": serveHTTP, "grpc": serveGRPC, "discard": discard, "echo": echo}
}

// Serve answers connections until ctx ends.
func Serve(ctx context.Context, address string, serve func(net.Conn)) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return Accept(ctx, ln, serve)
}

// Accept is Serve on a listener, which it closes.
func Accept(ctx context.Context, ln net.Listener, serve func(net.Conn)) error {
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting: %w", err)
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

func discard(c net.Conn) {
	buf := make([]byte, 256<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

var (
	sizeParameter = []byte("size=")
	upgradeField  = []byte("\r\nupgrade: ")
	switching     = []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
)

// serveHTTP answers requests without a body: with as many bytes as the parameter "size" says. After an upgrade it echoes.
func serveHTTP(c net.Conn) {
	buf, answers := make([]byte, 8<<10), map[int][]byte{}
	for n := 0; n < len(buf); {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; !bytes.HasSuffix(buf[:n], headEnd) {
			continue
		}
		if bytes.Contains(bytes.ToLower(buf[:n]), upgradeField) {
			if _, err := c.Write(switching); err == nil {
				echo(c)
			}
			return
		}
		size := asked(buf[:n])
		if answers[size] == nil {
			answers[size] = answer(size)
		}
		if _, err := c.Write(answers[size]); err != nil {
			return
		}
		n = 0
	}
}

// asked is the size that a request asks for.
func asked(request []byte) int {
	line, _, _ := bytes.Cut(request, headEnd[:2])
	_, rest, found := bytes.Cut(line, sizeParameter)
	if !found {
		return len(body)
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	size, err := strconv.Atoi(string(digits))
	if err != nil {
		return len(body)
	}
	return size
}

func answer(size int) []byte {
	head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
	return append(head, bytes.Repeat([]byte("x"), size)...)
}
