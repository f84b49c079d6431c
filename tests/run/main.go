// Command run is `make test`: it runs the suites, shows progress, and prints what failed. What compiles or reads the code, and the tests that look
// at no clock, run in the background beside the end-to-end tests, which wait much; the other unit tests then find compiled what they need. It
// installs what the suites need through Go modules and, as root, Debian packages.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/heddle-mesh/heddle/tests/internal/process"
)

// suite is one command of the test run.
type suite struct {
	group   string // first, unit, lint, e2e or long
	name    string
	dir     string
	env     []string
	command []string
	quiet   bool // print output only where it fails
}

const (
	race   = "CGO_ENABLED=1"
	static = "CGO_ENABLED=0"
	every  = 15 * time.Second // between two words from a quiet suite

	compileTests = "compile the end-to-end tests"
	endToEnd     = "end-to-end tests"
	steadyTests  = "unit tests that look at no clock, with -race"
)

// steady matches the packages whose tests take as long as they take: nothing in them waits for anything but the processor.
const steady = "/(api|injector/(inject|webhook)|manifests|meshctl/(analyze|cli|describe|explain)|pilot/(admission|generate|translate)|tests/(arch|contract|simulation))(/|$)"

// ours is the cluster's module without the two mains that are Kubernetes and CoreDNS: vetting those would vet all that they import.
var ours = []string{"./internal/...", "./cmd/cluster", "./cmd/toolbox"}

// suites lists them in their order. vet is in a suite of its own, so tests go without. That reads what the tests with -race have compiled, which
// spares it to compile everything once more.
func suites() []suite {
	return []suite{
		{"first", "generate CRDs", ".", nil, []string{"go", "run", "./manifests/crds/gen"}, true},
		{"first", "gofmt", ".", nil, []string{"sh", "-c", `out=$(gofmt -l .) && [ -z "$out" ] || { echo "not formatted: $out"; exit 1; }`}, true},
		{"unit", steadyTests, ".", []string{race}, []string{"sh", "-c", unit("grep -E '" + steady + "'")}, true},
		{"unit", "unit tests with -race", ".", []string{race}, []string{"sh", "-c", unit("grep -Ev '/tests/e2e$|" + steady + "'")}, true},
		{"unit", "allocation tests", ".", []string{static}, []string{"go", "test", "-vet=off", "-count=1", "-run", "Alloc|Bytes|Memory", "./sidecar/..."}, true},
		{"unit", "the cluster's unit tests", "tests/cluster", []string{race}, []string{"go", "test", "-race", "-vet=off", "./internal/..."}, true},
		{"e2e", compileTests, ".", []string{race}, []string{"go", "test", "-race", "-vet=off", "-c", "-o", "bin/e2e.test", "./tests/e2e"}, true},
		{"lint", "go mod verify", ".", nil, []string{"go", "mod", "verify"}, true},
		{"lint", "vet and staticcheck", ".", nil, []string{"sh", "-c", judge("")}, true},
		{"e2e", "compile the demo", ".", []string{static}, []string{"go", "build", "-o", "bin/demo", "./tests/demo"}, true},
		{"e2e", "cluster, Heddle, shop", ".", []string{static}, []string{"bin/demo", "-tour=false"}, false},
		{"e2e", "what the cluster promises", "tests/cluster", []string{static}, []string{"go", "run", "./cmd/cluster", "smoke"}, true},
		{"e2e", endToEnd, "tests/e2e", []string{"HEDDLE_KUBECONFIG=/var/lib/heddle-cluster/kubeconfig"},
			[]string{"../../bin/e2e.test", "-test.v", "-test.paniconexit0", "-test.timeout=40m", "-test.parallel=8", "-test.skip=^TestLong"}, false},
		{"long", "vet and staticcheck, whole", ".", nil, []string{"sh", "-c", judge("-all")}, true},
		{"long", "fuzz", ".", []string{race}, []string{"go", "run", "./tests/fuzz", "-race"}, false},
		{"long", "faults", "tests/e2e", []string{"HEDDLE_KUBECONFIG=/var/lib/heddle-cluster/kubeconfig"},
			[]string{"../../bin/e2e.test", "-test.v", "-test.paniconexit0", "-test.timeout=60m", "-test.parallel=8", "-test.run=^TestLong"}, false},
		{"long", "ten thousand slow clients", ".", []string{static, "HEDDLE_CROWD=10000"}, []string{"go", "test", "-vet=off", "-count=1", "-v", "-run", "^TestCrowdMemory$", "./sidecar/http1"}, false},
		{"long", "sixty thousand short connections", ".", []string{static, "HEDDLE_SHORT_CONNECTIONS=60000"}, []string{"go", "test", "-vet=off", "-count=1", "-v", "-run", "^TestShortConnections$", "./sidecar/http1"}, false},
		{"long", "mixed traffic", ".", []string{static}, []string{"sh", "-c", soak}, false},
	}
}

// unit tests the packages that filter lets pass.
func unit(filter string) string {
	return "go test -race -vet=off -p 3 -timeout 30m $(go list ./... | " + filter + ")"
}

// soak has proxies carry mixed traffic for an hour, or as long as HEDDLE_SOAK says.
const soak = `HEDDLE_SOAK="${HEDDLE_SOAK:-1h}" exec go test -vet=off -count=1 -v -timeout 0 -run '^TestMixedTrafficLeavesNothingBehind$' ./tests/interop`

// judge runs what vet and staticcheck look for, itself without -race, on both modules, and on the tests that are not for -race.
func judge(flags string) string {
	return `dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && CGO_ENABLED=0 go build -o "$dir/" ./tests/lint &&
CGO_ENABLED=1 GOGC=400 GOFLAGS="$GOFLAGS -race" "$dir/lint" -tags norace ` + flags + ` ./... && cd tests/cluster && CGO_ENABLED=0 "$dir/lint" ` + flags + " " + strings.Join(ours, " ")
}

func main() {
	only := flag.String("only", "lint,unit,e2e", "groups to run")
	long := flag.Bool("long", false, "run everything, the long suites too")
	flag.Parse()
	groups := strings.Split(*only, ",")
	if *long {
		groups = []string{"lint", "unit", "e2e", "long"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP, os.Interrupt)
	defer stop()
	if slices.Contains(groups, "e2e") && os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the end-to-end tests start a Kubernetes of their own and need root; without root: make test-unit")
		os.Exit(1)
	}
	if slices.ContainsFunc(suites(), func(s suite) bool { return slices.Contains(groups, s.group) && slices.Contains(s.env, race) }) {
		if err := compiler(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if err := tooLittle(places()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	start := time.Now()
	failed, ran := lanes(ctx, groups)
	fmt.Printf("\nsuites, in %v:\n%d passed, %d failed\n", time.Since(start).Round(time.Second), ran-len(failed), len(failed))
	if len(failed) > 0 {
		fmt.Println("failed: " + strings.Join(failed, ", "))
	}
	if len(failed) > 0 || ctx.Err() != nil {
		os.Exit(1)
	}
}

// lanes runs the suites of the groups: what only takes its time, beside what needs a cluster, and waits much; then the other unit tests, which look
// at the clock, with at most the lint, for idle processors, beside them. The end-to-end tests are compiled before what needs most of the same.
func lanes(ctx context.Context, groups []string) (failed []string, ran int) {
	lane := make(map[string][]suite)
	for _, s := range suites() {
		if s.group == "first" || slices.Contains(groups, s.group) {
			lane[s.lane()] = append(lane[s.lane()], s)
		}
	}
	var t tally
	var behind sync.WaitGroup
	compiled, steady := make(chan struct{}), make(chan struct{})
	t.lane(ctx, lane["first"])
	behind.Go(func() {
		t.lane(ctx, lane[compileTests])
		close(compiled)
		behind.Go(func() { t.lane(ctx, lane["lint"]) })
		t.lane(ctx, lane[steadyTests])
		close(steady)
	})
	t.lane(ctx, lane["e2e"])
	<-compiled
	t.lane(ctx, lane[endToEnd])
	<-steady
	t.lane(ctx, lane["unit"])
	behind.Wait()
	t.lane(ctx, lane["long"])
	return t.failed, t.ran
}

// lane names what the suite runs in line with: those of its group, or nobody.
func (s suite) lane() string {
	switch s.name {
	case compileTests, steadyTests, endToEnd:
		return s.name
	}
	return s.group
}

// tally counts suites, and keeps the names of those that failed.
type tally struct {
	mu     sync.Mutex
	failed []string
	ran    int
}

// lane runs suites one after the other.
func (t *tally) lane(ctx context.Context, suites []suite) {
	for _, s := range suites {
		if ctx.Err() != nil {
			break
		}
		ok := s.run(ctx)
		t.mu.Lock()
		t.ran++
		if !ok {
			t.failed = append(t.failed, s.name)
		}
		t.mu.Unlock()
	}
}

// behind says whether the suite runs in the background.
func (s suite) behind() bool {
	return s.group == "lint" || s.name == compileTests || s.name == steadyTests
}

// lowly runs a command for nothing but idle processors. Its session is one to the scheduler (sched(7), "autogroup"), where the kernel does that.
const lowly = `{ echo 19 > /proc/self/autogroup; } 2>/dev/null; exec nice -n 19 "$@"`

// economy has the compiler collect no garbage below 2 GiB, work alone and describe nothing to debuggers, which saves some 40 % of the processors in
// a cold run: go build runs as many compilers as there are. It says the same as that of the cluster's artifacts, so that both find each other's work.
const economy = "GOFLAGS='-toolexec=env GOGC=off GOMEMLIMIT=2GiB GOMAXPROCS=1' -gcflags=all=-dwarf=false "

// run runs a suite and says how long it took, and how much of the processors.
func (s suite) run(ctx context.Context) bool {
	fmt.Printf("== %s\n", s.name)
	start := time.Now()
	command := s.command
	if s.behind() {
		command = append([]string{"sh", "-c", lowly, "sh"}, command...)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: s.behind()}
	cmd.Env = append(append(os.Environ(), economy+os.Getenv("GOFLAGS")), s.env...)
	var kept bytes.Buffer
	var out io.Writer = os.Stdout
	if s.quiet {
		out = &kept
	}
	cmd.Stdout, cmd.Stderr = out, out
	if s.quiet {
		defer s.ticking(start)()
	}
	err := process.Run(ctx, cmd)
	took := fmt.Sprint(time.Since(start).Round(100 * time.Millisecond))
	if state := cmd.ProcessState; state != nil {
		took += fmt.Sprintf(" (%v of CPU)", (state.UserTime() + state.SystemTime()).Round(time.Second))
	}
	if err != nil {
		fmt.Printf("%s== %s FAILED after %v: %v\n", kept.String(), s.name, took, err)
		return false
	}
	fmt.Printf("== %s ok, %v\n", s.name, took)
	return true
}

// ticking says from time to time that a quiet suite still runs, until the returned function is called.
func (s suite) ticking(start time.Time) (stop func()) {
	tick, done := time.NewTicker(every), make(chan struct{})
	go func() {
		for {
			select {
			case <-tick.C:
				fmt.Printf("   ... %s, %v\n", s.name, time.Since(start).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return func() { tick.Stop(); close(done) }
}
