// Command heddle-proxy is Heddle's data plane: a sidecar or a gateway, the command that writes a pod's capture rules, and the small
// commands that a pod's hooks call. It only reads its settings and introduces components to each other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/redirect"
	"github.com/heddle-mesh/heddle/injector/redirect/kernel"
)

// version is set by the linker.
var version = "dev"

const usage = `heddle-proxy is the data plane of Heddle.

  heddle-proxy sidecar             serve beside an application, as the environment says
  heddle-proxy gateway             serve at an edge, as the environment says
  heddle-proxy machine --dir <dir> serve beside an application on a machine outside of the cluster, as files say
  heddle-proxy agent --out <dir>   keep a certificate in files, for a proxy that is not Heddle's
  heddle-proxy redirect <flags>    write the capture rules of this network namespace
  heddle-proxy wait [--timeout d]  return once the proxy beside is ready
  heddle-proxy drain               tell the proxy beside to send its clients elsewhere
  heddle-proxy version
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "heddle-proxy:", err)
		stop()
		os.Exit(1)
	}
}

// run does one command.
func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch command {
	case wire.CommandSidecar:
		return inPod(ctx, wire.NodeSidecar, env)
	case wire.CommandGateway:
		return inPod(ctx, wire.NodeRouter, env)
	case wire.CommandMachine:
		return machine(ctx, args, env)
	case wire.CommandAgent:
		return keep(ctx, args, env)
	case wire.CommandRedirect:
		return capture(args, out)
	case wire.CommandWait:
		return wait(ctx, args)
	case wire.CommandDrain:
		return drain(ctx)
	case "version", "--version":
		fmt.Fprintln(out, version)
		return nil
	case "", "help", "--help", "-h":
		fmt.Fprint(out, usage)
		return nil
	}
	return fmt.Errorf("%q is no command; see heddle-proxy help", command)
}

// capture writes the rules that the flags ask for.
func capture(args []string, out io.Writer) error {
	spec := redirect.DefaultSpec()
	flags := flag.NewFlagSet(wire.CommandRedirect, flag.ContinueOnError)
	spec.Register(flags)
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("reading flags: %w", err)
	}
	if spec.DNS == wire.DNSPod {
		conf, err := readResolvers(resolvConf)
		if err != nil {
			return err
		}
		spec.DNS = joined(conf.servers)
	}
	config, err := spec.Config()
	if err != nil {
		return fmt.Errorf("reading flags: %w", err)
	}
	rules := redirect.Rules(config)
	if err := kernel.Apply(rules); err != nil {
		return fmt.Errorf("writing capture rules: %w", err)
	}
	if err := kernel.Verify(rules); err != nil {
		return fmt.Errorf("reading capture rules back: %w", err)
	}
	fmt.Fprintln(out, "capture rules are in place")
	return nil
}

// joined writes servers as a flag has them.
func joined(servers []netip.AddrPort) string {
	var out []string
	for _, s := range servers {
		out = append(out, s.Addr().String())
	}
	return strings.Join(out, ",")
}

// wait returns once the proxy in this pod may be given traffic.
func wait(ctx context.Context, args []string) error {
	timeout, err := patience(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := call(ctx, "GET", wire.PortReady, wire.PathReady)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the proxy: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// patience is how long wait waits: by default not less than the startup probe, since the kubelet ends a container whose hook fails, and
// starts the application all the same.
func patience(args []string) (time.Duration, error) {
	flags := flag.NewFlagSet(wire.CommandWait, flag.ContinueOnError)
	timeout := flags.Duration("timeout", wire.StartupSeconds*time.Second, "how long to wait")
	if err := flags.Parse(args); err != nil {
		return 0, fmt.Errorf("reading flags: %w", err)
	}
	return *timeout, nil
}

func drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := call(ctx, "POST", wire.PortAdmin, wire.PathAdminDrain); err != nil {
		return fmt.Errorf("draining the proxy: %w", err)
	}
	return nil
}

// logger writes to the container's error stream; access logs have the other one.
func logger(level *slog.LevelVar) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
