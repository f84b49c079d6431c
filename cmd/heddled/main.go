// Command heddled is the control plane: pilot, injector and certificate authority in one process. It is where they meet, and the
// only reader of their flags and environment; what each does is in its own package.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker.
var version = "dev"

// gcPercent is how much garbage there may be beside what lives, where GOGC does not say. A control plane is idle but for storms, and what it is given memory
// for is their peak: what proxies are sent is shared, so that most of the peak is garbage, while CPU is to spare (docs/performance.md).
const gcPercent = 25

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	c, err := parse(os.Args[1:], os.Getenv)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, c)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "heddled:", err)
		os.Exit(1)
	}
}
