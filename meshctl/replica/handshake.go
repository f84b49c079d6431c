package replica

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/sniff"
)

// patience is how long a handshake in memory may take on a machine that has much else to do.
const patience = 30 * time.Second

// Client secures a connection as a client does.
type Client func(ctx context.Context, raw net.Conn) error

// Foreign is a client from outside: an application with TLS of its own, without a certificate.
func Foreign(sni string) Client {
	return func(ctx context.Context, raw net.Conn) error {
		conn := tls.Client(raw, &tls.Config{ServerName: sni, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		return conn.HandshakeContext(ctx)
	}
}

// peeked is a connection whose first bytes were looked at.
type peeked struct {
	net.Conn
	first io.Reader
}

// Read reads those bytes first.
func (p peeked) Read(b []byte) (int, error) { return p.first.Read(b) }

// hello reads a ClientHello as the proxy's listener does.
func hello(conn net.Conn) (sniff.Hello, net.Conn, error) {
	var got []byte
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		got = append(got, buffer[:n]...)
		h, verdict := sniff.TLS(got)
		switch {
		case verdict == sniff.Yes:
			return h, peeked{conn, io.MultiReader(bytes.NewReader(got), conn)}, nil
		case verdict == sniff.No:
			return h, conn, errors.New("this is no TLS")
		case err != nil:
			return h, conn, err
		}
	}
}

// Offer is the SNI that a client says first, or why it says nothing.
func Offer(client Client) (sni string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	near, far := net.Pipe()
	seen := make(chan string, 1)
	go func() {
		defer far.Close()
		defer close(seen)
		if h, _, err := hello(far); err == nil {
			seen <- h.ServerName
		}
	}()
	err = client(ctx, near) // nobody answers
	near.Close()
	if sni, ok := <-seen; ok {
		return sni, nil
	}
	return "", err
}

// Meeting is how a handshake ended.
type Meeting struct {
	Chain    *config.FilterChain
	Security *exchange.Security
	Err      error // why there is none
}

// Meet runs a handshake between a client and the listener of a proxy. What the ClientHello says is written into c, by which the chain is
// chosen.
func Meet(l *config.Listener, c *exchange.Connection, client Client) Meeting {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	near, far := net.Pipe()
	done := make(chan Meeting, 1)
	go accept(ctx, l, c, far, done)
	err := client(ctx, near)
	near.Close()
	got := <-done
	if err != nil && got.Security != nil {
		got.Security, got.Err = nil, fmt.Errorf("the client refuses: %w", err)
	}
	return got
}

// accept is a listener that waits for TLS.
func accept(ctx context.Context, l *config.Listener, c *exchange.Connection, raw net.Conn, done chan<- Meeting) {
	defer raw.Close()
	h, conn, err := hello(raw)
	if err != nil {
		done <- Meeting{Err: err}
		return
	}
	c.Transport, c.SNI, c.Offered, c.Via = "tls", h.ServerName, h.ALPN, l.Via
	out := Meeting{Chain: l.Choose(c)}
	switch {
	case out.Chain == nil:
		out.Err = errors.New("no filter chain takes this TLS")
	case out.Chain.TLS == nil:
		out.Err = errors.New("the filter chain ends no TLS")
	default:
		if _, out.Security, out.Err = out.Chain.TLS.Server(ctx, conn); out.Err != nil {
			out.Err = fmt.Errorf("the server refuses: %w", out.Err)
		}
	}
	done <- out
	if out.Err == nil {
		_, _ = io.Copy(io.Discard, raw) // the client's last flight
	}
}
