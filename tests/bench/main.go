// Command bench measures what Heddle's data plane costs beside Envoy, HAProxy and nginx: CPU per request, per call, per byte and per
// connection, waits, memory, and what a change of configuration does to traffic. All contenders of an experiment are measured in one run, in
// turns, on one core; clients and backends have the others. It must not be run beside anything else that is busy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/tests/bench/load"
)

type settings struct {
	backend, listen string
	only            string
	list            bool
	rounds          int
	each            time.Duration
	profile         string
	record          string
	before          string
}

func main() {
	var c settings
	flag.StringVar(&c.backend, "backend", "", "for the program itself: serve as a backend of this kind")
	flag.StringVar(&c.listen, "listen", "", "for -backend: address to listen on")
	flag.StringVar(&c.only, "only", "", "measure these only, by their names, with commas between")
	flag.BoolVar(&c.list, "list", false, "list what can be measured")
	flag.IntVar(&c.rounds, "rounds", 5, "rounds; each measures every contender once")
	flag.DurationVar(&c.each, "each", 2*time.Second, "how long each measurement takes")
	flag.StringVar(&c.profile, "profile", "", "write a CPU profile of each of Heddle's processes to a file in this folder")
	flag.StringVar(&c.record, "record", "", "write what was measured to this file, as a page")
	flag.StringVar(&c.before, "before", "", "measure this build of tests/bench/proxy, too, where one of Heddle's is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, c settings) error {
	if c.backend != "" {
		serve, known := load.Backends()[c.backend]
		if !known {
			return fmt.Errorf("unknown backend %q", c.backend)
		}
		return load.Serve(ctx, c.listen, serve)
	}
	b := &bench{settings: c}
	chosen, err := choose(b.experiments(), c.only)
	if err != nil {
		return err
	}
	if c.list {
		for _, e := range chosen {
			fmt.Printf("%-12s %s\n", e.name, e.title)
		}
		return nil
	}
	if err := b.start(ctx); err != nil {
		b.stop()
		return err
	}
	defer b.stop()
	return measureAll(ctx, c, chosen)
}

// measureAll runs experiments and shows what they showed. Musts that do not hold are no error: contenders that could not be measured are.
func measureAll(ctx context.Context, c settings, chosen []experiment) error {
	var results []result
	var failed []error
	hold, limits := 0, 0
	for _, e := range chosen {
		r := e.run(ctx, c.rounds)
		if err := r.print(os.Stdout); err != nil {
			return err
		}
		_, h, l := r.rows()
		hold, limits = hold+h, limits+l
		failed = append(failed, r.failures()...)
		results = append(results, r)
	}
	if c.record != "" && ctx.Err() == nil {
		if err := record(ctx, c.record, c.rounds, c.each, results); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
	}
	fmt.Printf("\n%s\n", summary(hold, limits))
	return errors.Join(failed...)
}

// choose returns the experiments of the given names, or all.
func choose(all []experiment, only string) ([]experiment, error) {
	if only == "" {
		return all, nil
	}
	var out []experiment
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(e experiment) bool { return e.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no experiment %q; -list names them", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}
