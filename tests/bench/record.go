package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/tests/bench/page"
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
)

const recordHead = `# What a hop costs

Written by ` + "`go run ./tests/bench -record docs/performance.md`" + `; ` + "`make bench`" + ` measures without writing. All proxies of a table were measured in one run, in turns, pinned to one core;
clients and backends had the other. "The first is" says what the first line is as a multiple of this one: the median of the ratios within each round. Only ratios mean anything on another machine. "must" and "aim" are what the
project holds itself to; figures without them are for orientation.

`

// record writes the tables as a page, with the machine and the versions they come from.
func record(ctx context.Context, path string, rounds int, each time.Duration, results []result) error {
	var out bytes.Buffer
	out.WriteString(recordHead)
	fmt.Fprintf(&out, "%d rounds of %v each, of waits thrice as many, on %s.\n", rounds, each, time.Now().UTC().Format("2006-01-02"))
	fmt.Fprintf(&out, "\n| | |\n| --- | --- |\n")
	for _, v := range versions(ctx) {
		fmt.Fprintf(&out, "| %s | %s |\n", v[0], v[1])
	}
	hold, limits := 0, 0
	for i := range results {
		r := &results[i]
		rows, h, l := r.rows()
		hold, limits = hold+h, limits+l
		fmt.Fprintf(&out, "\n## %s\n\n", r.title)
		fmt.Fprintf(&out, "| %s |\n|%s\n", strings.Join(columns(), " | "), strings.Repeat(" --- |", len(columns())))
		for _, row := range rows {
			fmt.Fprintf(&out, "| %s |\n", strings.Join(row, " | "))
		}
		for _, err := range r.failures() {
			fmt.Fprintf(&out, "\nNot measured: %v\n", err)
		}
	}
	fmt.Fprintf(&out, "\n%s\n", summary(hold, limits))
	return page.Write(path, page.Hop, out.Bytes())
}

func summary(hold, limits int) string { return fmt.Sprintf("bench: %d of %d musts hold", hold, limits) }

// versions of all that took part.
func versions(ctx context.Context) [][2]string {
	commit, _ := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	return [][2]string{
		{"machine", page.Machine()},
		{"kernel", page.Kernel()},
		{"Heddle", strings.TrimSpace(string(commit)) + ", " + runtime.Version()},
		{"Envoy", envoy.Version},
		{"HAProxy", version(ctx, "haproxy", "-v")},
		{"nginx", version(ctx, "nginx", "-v")},
	}
}

var number = regexp.MustCompile(`[0-9]+\.[0-9]+[0-9a-z.+-]*`)

// version is the first number that a program says of itself.
func version(ctx context.Context, name, flag string) string {
	path, err := find(name)
	if err != nil {
		return "not there"
	}
	said, _ := exec.CommandContext(ctx, path, flag).CombinedOutput()
	return number.FindString(string(said))
}
