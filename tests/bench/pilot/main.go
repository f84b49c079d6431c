// Command pilot measures the control plane: a real API server (etcd and kube-apiserver, no nodes), heddled as a process of its own, a mesh
// of N services, and M clients of delta ADS that this program plays. For each size it says how long it takes until all clients are connected
// and have everything, until the last one knows of a change, how many bytes that is, and what heddled needs for it, beside what istiod
// needed. It must not be run beside anything else that is busy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type settings struct {
	rows       string
	clients    string
	scope      int
	namespaces int
	profiles   string
	profiling  time.Duration
	patience   time.Duration
	keep       bool
	binaries   binaries
}

// binaries are files to run; empty: made of the source tree.
type binaries struct{ heddled, kubernetes string }

func main() {
	var c settings
	flag.StringVar(&c.rows, "rows", "sizes,services,proxies", "what to measure: sizes, services, proxies, or SERVICESxPROXIES, comma-separated")
	flag.StringVar(&c.clients, "clients", clientsEnvoy, "what the clients are: envoy, or heddle for proxies of ours")
	flag.IntVar(&c.scope, "scope", 0, "a Sidecar of each namespace imports so many services; 0: everybody is told everything")
	flag.IntVar(&c.namespaces, "namespaces", 10, "namespaces that services and proxies are spread over")
	flag.StringVar(&c.profiles, "profiles", "", "folder to write profiles of heddled to: CPU while clients connect and while things change, heap after each")
	flag.DurationVar(&c.profiling, "profiling", 15*time.Second, "with -profiles: how long CPU profiles are, at most; a row waits for them")
	flag.DurationVar(&c.patience, "patience", 10*time.Minute, "how long anything may take before a row is given up")
	flag.BoolVar(&c.keep, "keep", false, "keep the state folder: logs, and what etcd holds")
	flag.StringVar(&c.binaries.heddled, "heddled", "", "heddled to measure; empty: built of the tree")
	flag.StringVar(&c.binaries.kubernetes, "kubernetes", "", "binary of all Kubernetes programs (tests/cluster); empty: the cache's, or built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "bench-pilot:", err)
		os.Exit(1)
	}
}

// Values of -clients.
const (
	clientsEnvoy  = "envoy"
	clientsHeddle = "heddle"
)

func run(ctx context.Context, c settings) error {
	groups, err := parseRows(c.rows)
	if err != nil {
		return err
	}
	if c.clients != clientsEnvoy && c.clients != clientsHeddle {
		return fmt.Errorf("-clients %q: it is neither envoy nor heddle", c.clients)
	}
	dir, err := os.MkdirTemp("", "heddle-bench-pilot-")
	if err != nil {
		return err
	}
	if c.keep {
		fmt.Println("state is in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	b := bench{settings: c, dir: dir}
	if err := b.build(ctx); err != nil {
		return err
	}
	var v verdict
	for _, g := range groups {
		var rows []row
		for _, s := range g.sizes {
			r := row{size: s}
			began := time.Now()
			if r.figures, r.err = b.row(ctx, s); ctx.Err() != nil {
				return ctx.Err()
			}
			fmt.Printf("%s took %v\n", s, time.Since(began).Round(time.Second))
			rows = append(rows, r)
		}
		fmt.Println()
		if err := table(os.Stdout, g, rows, c.scope == 0, &v); err != nil {
			return err
		}
		fmt.Println()
	}
	b.explain()
	fmt.Printf("bench-pilot: %d of %d musts hold\n", v.hold, v.all)
	return nil
}

// explain says what the figures are figures of.
func (b bench) explain() {
	fmt.Printf("clients: %s", b.clients)
	if b.scope > 0 {
		fmt.Printf(", each told of %d services", b.scope)
	}
	fmt.Printf("; a service has one HTTP port and %d endpoints; %d namespaces; delta ADS over mTLS, bytes are those of messages\n", endpointsEach, b.namespaces)
	fmt.Printf("changes: from before the write until the last client has it, the median of %d; (0.10x) is the part of istiod's recorded figure\n", changes)
}

// bench measures rows.
type bench struct {
	settings
	dir string
	top string // the source tree
}

// row starts everything that a size needs, measures, and ends it again.
func (b bench) row(ctx context.Context, s size) (_ figures, err error) {
	m := mesh{size: s, namespaces: b.namespaces, scope: b.scope}
	if err := m.fits(); err != nil {
		return figures{}, err
	}
	dir := filepath.Join(b.dir, s.String())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return figures{}, err
	}
	if !b.keep {
		defer os.RemoveAll(dir)
	}
	api, err := startAPI(ctx, b.binaries.kubernetes, dir, b.patience)
	if err != nil {
		return figures{}, err
	}
	defer api.stop()
	c, err := connect(api.config, m)
	if err != nil {
		return figures{}, err
	}
	if err := c.fill(ctx, b.top); err != nil {
		return figures{}, err
	}
	h, err := b.startHeddled(ctx, dir, api.kubeconfig)
	if err != nil {
		return figures{}, err
	}
	defer h.stop()
	root, err := c.root(ctx)
	if err != nil {
		return figures{}, err
	}
	f, err := newFleet(root, m, h.discovery, b.clients == clientsHeddle)
	if err != nil {
		return figures{}, err
	}
	defer f.end()
	out, err := b.measure(ctx, trial{c, h, f})
	if lost := f.lost.Load(); err == nil && lost > 0 {
		err = fmt.Errorf("%d streams were lost", lost)
	}
	if err != nil && !b.keep {
		err = errors.Join(err, errors.New("heddled: "+h.tail()))
	}
	return out, err
}
