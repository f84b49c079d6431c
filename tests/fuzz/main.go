// Command fuzz is `make fuzz`: it runs every fuzz target of the tree in turn for a while, keeps what it learns between runs, and adds the CPU time that
// each has had to docs/fuzz.md. It judges nothing but whether a target fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/heddle-mesh/heddle/tests/internal/process"
)

// enough is the CPU time, in minutes, that each target should have had.
const enough = 30

// page is where the table is, below the root.
const page = "docs/fuzz.md"

func main() {
	each := flag.Duration("time", time.Minute, "how long each target runs")
	only := flag.String("only", "", "run only targets whose package and name, joined by a dot, match this regular expression")
	race := flag.Bool("race", false, "with the race detector, which needs cgo")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP, os.Interrupt)
	defer stop()
	if err := run(ctx, *only, &fuzzer{each: *each, race: *race}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs the targets and keeps the table up to date after each, so that an interrupted run loses nothing.
func run(ctx context.Context, only string, f *fuzzer) error {
	choose, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	all, err := targets(".")
	if err != nil {
		return err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	f.corpus = filepath.Join(home, ".cache", "heddle", "fuzz")
	if f.dir, err = os.MkdirTemp("", "heddle-fuzz"); err != nil {
		return err
	}
	defer os.RemoveAll(f.dir)
	var failed []string
	for _, t := range all {
		if ctx.Err() != nil {
			break
		}
		if !choose.MatchString(t.String()) {
			continue
		}
		spent, err := f.fuzz(ctx, t)
		total, saved := add(all, t, spent)
		if saved != nil {
			return saved
		}
		fmt.Printf("== %s: %.1f CPU minutes, %.1f in all\n", t, spent.Minutes(), total)
		if err != nil && ctx.Err() == nil {
			fmt.Printf("== %s FAILED: %v\n", t, err)
			failed = append(failed, t.String())
		}
	}
	return report(all, failed)
}

// report says which targets are not done yet; the error is of those that failed.
func report(all []target, failed []string) error {
	t, err := read()
	if err != nil {
		return err
	}
	var short []string
	for _, x := range all {
		if t[x] < enough {
			short = append(short, x.String())
		}
	}
	if len(short) > 0 {
		fmt.Printf("\n%d of %d targets have had less than %d CPU minutes: %s\n", len(short), len(all), enough, strings.Join(short, ", "))
	} else {
		fmt.Printf("\nall %d targets have had %d CPU minutes\n", len(all), enough)
	}
	if len(failed) > 0 {
		return errors.New("failed: " + strings.Join(failed, ", "))
	}
	return nil
}

// fuzzer runs targets.
type fuzzer struct {
	each   time.Duration
	race   bool
	corpus string // what targets have learned, by package
	dir    string // of binaries
}

// fuzz runs a target and returns the CPU time that it and its workers took, compiling not counted. What makes it fail is left in its package's testdata.
func (f *fuzzer) fuzz(ctx context.Context, t target) (time.Duration, error) {
	fmt.Printf("== %s, for %v\n", t, f.each)
	dir, err := filepath.Abs(t.pkg)
	if err != nil {
		return 0, err
	}
	binary := filepath.Join(f.dir, "fuzz.test")
	build := []string{"test", "-c", "-vet=off", "-fuzz", "^" + t.name + "$", "-o", binary}
	if f.race {
		build = append(build, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(build, "./"+t.pkg)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := process.Run(ctx, cmd); err != nil {
		return 0, fmt.Errorf("compiling: %w", err)
	}
	corpus := filepath.Join(f.corpus, filepath.FromSlash(t.pkg))
	if err := os.MkdirAll(corpus, 0o755); err != nil {
		return 0, err
	}
	cmd = exec.CommandContext(ctx, binary, "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+f.each.String(), "-test.fuzzcachedir="+corpus)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
	err = process.Run(ctx, cmd)
	if cmd.ProcessState == nil {
		return 0, err
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}
