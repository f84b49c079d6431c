// Command demo builds Heddle, starts a real Kubernetes, installs Heddle and the sample shop, and takes the tour. With -context it does so on a
// cluster of the user's. It can be run again at any time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/heddle-mesh/heddle/tests/tour"
)

// options are the command's flags.
type options struct {
	context  string // of the user's kubeconfig; empty: the demo's own cluster
	registry string // where the user's cluster pulls images from
	yes      bool   // do not ask
	tour     bool   // take the tour
	claims   string // which claims: "1,4"; empty: all
	install  bool   // stop before the shop where false
}

func main() {
	var o options
	flag.StringVar(&o.context, "context", "", "run on the cluster of this kubeconfig context instead of the demo's own")
	flag.StringVar(&o.registry, "registry", "", "with -context: the registry that holds the images")
	flag.BoolVar(&o.yes, "yes", false, "with -context: do not ask")
	flag.BoolVar(&o.tour, "tour", true, "take the tour once everything runs")
	flag.StringVar(&o.claims, "claims", "", "claims to show, by number (default: all)")
	flag.BoolVar(&o.install, "install", true, "install Heddle and the shop; without it the cluster and the images only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP, os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	start := time.Now()
	p, err := open(ctx, o)
	if err != nil {
		return err
	}
	steps := p.preparation()
	if o.install {
		steps = append(steps, step{"installing Heddle", install}, step{"deploying the shop", deployShop}, step{"deploying the gateways", deployGateways}, step{"waiting until all is ready", waitReady})
	}
	for _, s := range steps {
		if err := p.do(ctx, s); err != nil {
			return err
		}
	}
	if !o.tour || !o.install {
		p.closing(ctx)
		return nil
	}
	claims, err := chosen(o.claims)
	if err != nil {
		return err
	}
	if err := p.do(ctx, step{"clearing the stage", clearStage}); err != nil {
		return err
	}
	fmt.Println("\nThe tour")
	r := tour.Run(ctx, p.cluster, claims, os.Stdout)
	p.closing(ctx)
	fmt.Printf("took %v\n", time.Since(start).Round(time.Second))
	if r.NotShown > 0 {
		fmt.Printf("%d claims not shown\n", r.NotShown)
	}
	fmt.Printf("%d of %d claims hold\n", r.Held, len(claims))
	if r.Failed > 0 || r.Held+r.NotShown < len(claims) {
		return errors.New("not every claim holds")
	}
	return nil
}

// chosen reads "1,4".
func chosen(list string) ([]tour.Claim, error) {
	all := tour.Claims()
	if list == "" {
		return all, nil
	}
	var out []tour.Claim
	for f := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 || n > len(all) {
			return nil, fmt.Errorf("there is no claim %q", f)
		}
		out = append(out, all[n-1])
	}
	return out, nil
}
