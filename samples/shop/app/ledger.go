package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// runLedger serves a line protocol over TCP: it greets with its version, as server-first protocols do when GREET is set, and answers each
// line with "<version> <line>".
func runLedger(ctx context.Context, _ []string) error {
	l, err := net.Listen("tcp", env("LISTEN", ":9000"))
	if err != nil {
		return fmt.Errorf("listening for TCP: %w", err)
	}
	go func() {
		<-ctx.Done()
		time.Sleep(lameDuck)
		_ = l.Close() // ends Accept
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accepting: %w", err)
		}
		go ledger(conn)
	}
}

func ledger(conn net.Conn) {
	defer conn.Close()
	if env("GREET", "") != "" {
		fmt.Fprintf(conn, "%s ready\n", version())
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := fmt.Fprintf(conn, "%s %s\n", version(), lines.Text()); err != nil {
			slog.Debug("client gone", "error", err)
			return
		}
	}
}

// askLedger sends one line over a new connection and returns the answer.
func askLedger(ctx context.Context, addr, line string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("dialling ledger: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a fresh connection takes one
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", fmt.Errorf("writing to ledger: %w", err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("reading from ledger: %w", err)
	}
	return answer[:len(answer)-1], nil
}
