// Command meshctl installs, inspects and debugs the mesh. Everything that it does is in package meshctl/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/heddle-mesh/heddle/meshctl/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, version, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
