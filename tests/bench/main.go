// Command bench measures what one HTTP/1.1 hop costs: CPU per request of Heddle's data path with a mesh hop's own work
// (100 hosts of 10 routes, authorisation, request id, header operations, telemetry) beside HAProxy and nginx that only
// forward. All proxies are measured in one run, in turns, on one core; load and backend have the others. It must not be
// run beside anything else that is busy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

type settings struct {
	role   string
	rounds int
	each   time.Duration
	conns  int
	listen string
	prof   string
	to     string
}

func main() {
	var c settings
	flag.StringVar(&c.role, "role", "", "for the program itself: proxy, backend")
	flag.StringVar(&c.listen, "listen", "", "for -role: address to listen on")
	flag.StringVar(&c.to, "to", "", "for -role proxy: address to forward to")
	flag.StringVar(&c.prof, "profile", "", "write a CPU profile of Heddle's process to this file")
	flag.IntVar(&c.rounds, "rounds", 7, "rounds; each measures every proxy once")
	flag.DurationVar(&c.each, "each", 2*time.Second, "how long each measurement takes")
	flag.IntVar(&c.conns, "connections", 32, "keep-alive connections")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c settings) error {
	switch c.role {
	case "proxy":
		return profiled(c.prof, func() error { return proxy(ctx, c.listen, c.to) })
	case "backend":
		return backend(ctx, c.listen)
	case "":
		return measure(ctx, c)
	}
	return fmt.Errorf("unknown role %q", c.role)
}

// profiled runs f under the CPU profiler, if a file is named.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := pprof.StartCPUProfile(out); err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	defer pprof.StopCPUProfile()
	return f()
}

// result is what one proxy showed in all rounds.
type result struct {
	name string
	cpu  []float64 // microseconds per request
	rate []float64 // requests per second
	p50  []time.Duration
	p99  []time.Duration
	err  error
}

// measure runs the rounds and prints the table; a peer that cannot be had makes it fail, after the others are shown.
func measure(ctx context.Context, c settings) error {
	b, err := start(ctx, "backend", others)
	if err != nil {
		return err
	}
	defer b.stop()
	contenders := []contender{heddle{c.prof}, haproxy{}, nginx{}}
	results := make([]result, len(contenders))
	procs := make([]*process, len(contenders))
	for i, k := range contenders {
		results[i].name = k.name()
		fmt.Printf("starting %s\n", k.name())
		if procs[i], results[i].err = k.start(ctx, b.addr); results[i].err == nil {
			defer procs[i].stop()
			results[i].err = procs[i].warm(ctx, c)
		}
	}
	began := time.Now()
	for round := range c.rounds {
		for i := range contenders {
			if results[i].err == nil {
				results[i].err = results[i].add(ctx, procs[i], c)
			}
		}
		fmt.Printf("round %d of %d done after %v\n", round+1, c.rounds, time.Since(began).Round(time.Second))
	}
	return report(results)
}

func (r *result) add(ctx context.Context, p *process, c settings) error {
	before, err := p.cpu()
	if err != nil {
		return err
	}
	l, err := load(ctx, p.addr, c.conns, c.each)
	if err != nil {
		return err
	}
	after, err := p.cpu()
	if err != nil {
		return err
	}
	r.cpu = append(r.cpu, float64((after-before).Nanoseconds())/1e3/float64(l.requests))
	r.rate = append(r.rate, float64(l.requests)/c.each.Seconds())
	r.p50, r.p99 = append(r.p50, l.p50), append(r.p99, l.p99)
	return nil
}

func report(rs []result) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nproxy\tCPU µs/request\tHeddle is\trequests/s\tp50\tp99\t")
	var failed []error
	ours := median(rs[0].cpu)
	for _, r := range rs {
		if r.err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", r.name, r.err))
			fmt.Fprintf(w, "%s\tnot measured\t\t\t\t\t\n", r.name)
			continue
		}
		cpu := median(r.cpu)
		fmt.Fprintf(w, "%s\t%.1f\t%.2fx\t%.0f\t%v\t%v\t\n", r.name, cpu, ours/cpu, median(r.rate), median(r.p50), median(r.p99))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println("\nmedians; one HTTP/1.1 hop, plaintext, keep-alive GET, 64-byte body; only ratios within one run mean anything")
	return errors.Join(failed...)
}

func median[T float64 | time.Duration](v []T) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
