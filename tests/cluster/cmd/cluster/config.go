package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/artifacts"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/balancer"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/lifecycle"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/outside"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/progress"
)

// options are the flags of every command.
type options struct{ state, cache string }

func (o *options) cluster() lifecycle.Cluster {
	cache := o.cache
	if cache == "" {
		cache = defaultCache()
	}
	return lifecycle.Cluster{
		Plan:    plan.Default(),
		Layout:  plan.Layout{Root: filepath.Clean(o.state)},
		Report:  progress.New(os.Stdout),
		Builder: artifacts.Builder{Cache: cache, Source: source()},
		BuiltAt: filepath.Join(cache, "build.log"),
	}
}

// defaultCache is a folder outside the tree, also for a root without a home.
func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = "/var/cache"
	}
	return filepath.Join(dir, "heddle")
}

// source is the folder of this module, when the command is run in it or at the top of the tree. Commands that build nothing do without.
func source() string {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "."
	}
	top := filepath.Dir(strings.TrimSpace(string(out)))
	if below := filepath.Join(top, "tests", "cluster"); isFile(filepath.Join(below, "go.mod")) {
		return below
	}
	return top
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// replace turns this process into another program.
func replace(name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	return fmt.Errorf("running %s: %w", name, syscall.Exec(path, append([]string{name}, args...), os.Environ()))
}

func serveOutside(ctx context.Context, c lifecycle.Cluster) error {
	pair, err := tls.LoadX509KeyPair(c.Layout.Data(plan.Outside, "server.pem"), c.Layout.Data(plan.Outside, "server-key.pem"))
	if err != nil {
		return fmt.Errorf("reading the outside certificate: %w", err)
	}
	return outside.Run(ctx, c.Plan.OutsideAddresses(), pair)
}

func serveBalancer(ctx context.Context, c lifecycle.Cluster) error {
	client, err := c.BalancerClient()
	if err != nil {
		return err
	}
	return balancer.New(client, c.Plan, slog.New(slog.NewTextHandler(os.Stderr, nil))).Run(ctx)
}
