package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
	"time"
)

// pause holds a pod's namespaces, and collects the children that others leave to it where they share a process namespace.
func pause([]string) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return nil
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

// sleep waits for a duration, or for ever, and ends at once when it is told to.
func sleep(args []string) error {
	ctx, stop := stopping()
	defer stop()
	if len(args) > 0 {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	<-ctx.Done()
	return nil
}

// lookup prints the addresses of a name.
func lookup(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("lookup: want one name")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, "\n"))
	return nil
}

// cat prints files.
func cat(args []string) error {
	for _, path := range args {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func env([]string) error {
	all := os.Environ()
	sort.Strings(all)
	fmt.Println(strings.Join(all, "\n"))
	return nil
}

// stopping is a context that ends when the container is stopped.
func stopping() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// flags is a flag set that prints its usage and ends the program where the arguments do not fit.
func flags(name, usage string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ExitOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: toolbox %s %s\n", name, usage)
		f.PrintDefaults()
	}
	return f
}
