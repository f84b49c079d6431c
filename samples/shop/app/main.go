// Command shop is every program of the sample shop in one static binary: storefront, catalog, stock (gRPC), ledger (TCP) and a client
// that makes requests and counts answers. It knows nothing of the mesh.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// programs maps the first argument to what runs.
var programs = map[string]func(ctx context.Context, args []string) error{
	"storefront": runStorefront,
	"catalog":    runCatalog,
	"stock":      runStock,
	"ledger":     runLedger,
	"client":     runClient,
	"tcpclient":  runTCPClient,
	"stream":     runStream,
	"sleep":      func(ctx context.Context, _ []string) error { <-ctx.Done(); return nil },
}

func main() {
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: shop storefront|catalog|stock|ledger|client|tcpclient|stream|sleep [flags]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err := programs[os.Args[1]](ctx, os.Args[2:]); err != nil {
		slog.Error("shop", "program", os.Args[1], "error", err)
		os.Exit(1)
	}
}

// env returns a variable or what to take instead.
func env(key, otherwise string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return otherwise
}

// version says which version of a service answers.
func version() string { return env("VERSION", "v1") }

// lameDuck is how long a server goes on answering after it was told to stop, so that clients learn of it first.
const lameDuck = 3 * time.Second
