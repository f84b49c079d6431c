// Command pilot measures the control plane: a real API server (etcd and kube-apiserver, no nodes), heddled as a process of its own, a mesh
// of N services, and M clients of delta ADS that this program plays. For each size it says how long it takes until all clients are connected
// and have everything, until the last one knows of a change, how many bytes that is, and what heddled needs for it, beside what istiod
// needed, on another day or in turns with it. It must not be run beside anything else that is busy.
package main

import (
	"context"
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
	few        int
	namespaces int
	profiles   string
	profiling  time.Duration
	patience   time.Duration
	rounds     int
	keep       bool
	record     string
	note       string
	binaries   binaries
}

// binaries are files to run; empty: made of the source tree.
type binaries struct{ heddled, kubernetes, istiod string }

func main() {
	var c settings
	flag.StringVar(&c.rows, "rows", "core,sizes,services,proxies", "what to measure: core (translation alone), sizes, services, proxies, or SERVICESxPROXIES, comma-separated")
	flag.StringVar(&c.clients, "clients", "envoy,scoped,ondemand", "what the clients are, one kind after the other: envoy, scoped (Envoys with a Sidecar), ondemand, heddle (ours, told everything)")
	flag.IntVar(&c.few, "few", 20, "how many services a Sidecar imports, and a client on demand uses")
	flag.StringVar(&c.record, "record", "", "page of which to replace the control plane's part by the tables: docs/performance.md")
	flag.IntVar(&c.namespaces, "namespaces", 10, "namespaces that services and proxies are spread over")
	flag.StringVar(&c.note, "note", "", "with -record: what else there is to say of the run")
	flag.StringVar(&c.profiles, "profiles", "", "folder to write profiles of heddled to: CPU while clients connect and while things change, heap after each")
	flag.DurationVar(&c.profiling, "profiling", 15*time.Second, "with -profiles: how long CPU profiles are, at most; a row waits for them")
	flag.DurationVar(&c.patience, "patience", 10*time.Minute, "how long anything may take before a row is given up")
	flag.StringVar(&c.binaries.istiod, "istiod", "", "pilot-discovery to measure in turns with heddled, beside the same objects and clients; empty: figures are compared with recorded ones")
	flag.IntVar(&c.rounds, "rounds", 1, "how often each kind of clients is measured in a mesh; figures are medians")
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

func run(ctx context.Context, c settings) error {
	groups, err := parseRows(c.rows)
	if err != nil {
		return err
	}
	audiences, err := parseAudiences(c.clients)
	if err != nil {
		return err
	}
	if c.few < changes {
		return fmt.Errorf("-few %d: changes are about %d services", c.few, changes)
	}
	if c.rounds < 1 {
		return fmt.Errorf("-rounds %d: at least one", c.rounds)
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
	b := bench{settings: c, audiences: audiences, dir: dir}
	out, err := b.groups(ctx, groups)
	if err != nil {
		return err
	}
	fmt.Print(out.explain(b))
	if c.record == "" {
		return nil
	}
	return out.record(ctx, b)
}

// outcome is what a run showed.
type outcome struct {
	tables []table
	verdict
}

// groups measures all rows.
func (b *bench) groups(ctx context.Context, groups []group) (outcome, error) {
	var out outcome
	for _, g := range groups {
		if g.name == "core" {
			figures, err := measureCore()
			if err != nil {
				return out, err
			}
			out.add(figures.table(&out.verdict))
			continue
		}
		if err := b.build(ctx); err != nil {
			return out, err
		}
		rows := make([][]row, len(b.audiences))
		for _, s := range g.sizes {
			began := time.Now()
			for i, r := range b.size(ctx, s) {
				rows[i] = append(rows[i], r)
			}
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
			fmt.Printf("%s took %v\n", s, time.Since(began).Round(time.Second))
		}
		for i, a := range b.audiences {
			out.add(tableOf(g, a, b.few, rows[i], &out.verdict))
		}
	}
	return out, nil
}

// add keeps a table, and shows it.
func (o *outcome) add(t table) {
	t.print(os.Stdout)
	o.tables = append(o.tables, t)
}

// bench measures rows.
type bench struct {
	settings
	audiences []audience
	dir       string
	top       string // the source tree
}

// mesh starts an API server with the objects of a size, and ends it again.
func (b *bench) mesh(ctx context.Context, s size, use func(c *cluster, at site)) error {
	m := mesh{size: s, namespaces: b.namespaces, few: b.few, before: b.turns() * changes}
	if err := m.fits(); err != nil {
		return err
	}
	m.before = 0
	dir := filepath.Join(b.dir, s.String())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if !b.keep {
		defer os.RemoveAll(dir)
	}
	api, err := startAPI(ctx, b.binaries.kubernetes, dir, b.patience)
	if err != nil {
		return err
	}
	defer api.stop()
	c, err := connect(api.config, m)
	if err != nil {
		return err
	}
	if err := c.fill(ctx, b.top); err != nil {
		return err
	}
	use(c, site{dir, api.kubeconfig})
	return nil
}
