package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/tests/internal/process"
	"github.com/heddle-mesh/heddle/tests/tour"
)

const (
	outFolder = "out"
	// sampleTag is the tag of the shop's image in samples/, and sampleArchive the image by that name.
	sampleTag, sampleArchive = "demo", "out/shop-demo.tar"
	binFolder                = "bin"
)

// binaries are the programs that become images: by the image's name, the package and the file.
// The user matters: what runs as the proxy's own user is not captured.
var binaries = []struct{ image, pkg, user string }{
	{"heddled", "./cmd/heddled", "1337"}, {"heddle-proxy", "./cmd/heddle-proxy", "1337"}, {"shop", "./samples/shop/app", "10001"},
}

// play is one run of the demo.
type play struct {
	options
	own        bool   // the demo's own cluster
	kubeconfig string // the demo's own; empty: what the user's KUBECONFIG names
	version    string // of the binaries
	tag        string // of the images: changes with their content
	registry   string
	cluster    *tour.Cluster
}

// step is a part of the demo that may take long.
type step struct {
	name string
	run  func(ctx context.Context, p *play) error
}

// open looks at where the demo shall run.
func open(ctx context.Context, o options) (*play, error) {
	p := &play{options: o, own: o.context == "", registry: strings.TrimSuffix(o.registry, "/"), version: "dev"}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output(); err == nil { // a copy of the files has no history
		p.version = strings.TrimSpace(string(out))
	}
	if p.own {
		if os.Geteuid() != 0 {
			return nil, fmt.Errorf("the demo's own cluster needs root (on a cluster of yours: make demo CONTEXT=name REGISTRY=registry)")
		}
		p.registry, p.kubeconfig = "heddle.local", tour.Kubeconfig
		return p, nil
	}
	if p.registry == "" {
		return nil, fmt.Errorf("no registry: say where your cluster pulls images from, make demo CONTEXT=%s REGISTRY=registry", o.context)
	}
	return p, p.agree(ctx)
}

// preparation is everything before the installation. A cluster of the user's is looked at before anything is made for it.
func (p *play) preparation() []step {
	making := []step{{"building binaries", build}, {"making images", makeImages}}
	if p.own {
		return append(making, step{"starting the cluster", startCluster}, step{"loading images", loadImages}, step{"connecting", connect})
	}
	return append([]step{{"connecting", connect}, {"looking at the cluster", refuse}}, append(making, step{"pushing images", pushImages})...)
}

// do runs a step and prints how long it took, while it runs and after.
func (p *play) do(ctx context.Context, s step) error {
	start := time.Now()
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Printf("  ... %s, %v\n", s.name, time.Since(start).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	err := s.run(ctx, p)
	close(done)
	took := time.Since(start).Round(100 * time.Millisecond)
	if err != nil {
		return fmt.Errorf("%s (%v): %w", s.name, took, err)
	}
	fmt.Printf("  %-28s %8v\n", s.name, took)
	return nil
}

// command runs a program; what it printed is shown where it fails.
func (p *play) command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	return p.run(ctx, io.Discard, dir, env, name, args...)
}

// shown runs a program that says itself what it does, and how long that takes.
func (p *play) shown(ctx context.Context, dir string, env []string, name string, args ...string) error {
	return p.run(ctx, os.Stdout, dir, env, name, args...)
}

func (p *play) run(ctx context.Context, also io.Writer, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if p.own { // an ambient KUBECONFIG is never used
		cmd.Env = append(cmd.Env, "KUBECONFIG="+p.kubeconfig)
	}
	var out bytes.Buffer
	both := io.MultiWriter(&out, also)
	cmd.Stdout, cmd.Stderr = both, both
	if err := process.Run(ctx, cmd); err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	return nil
}

// meshctl runs our CLI against the cluster.
func (p *play) meshctl(ctx context.Context, args ...string) error {
	if p.context != "" {
		args = append(args, "--context", p.context)
	}
	return p.command(ctx, ".", nil, filepath.Join(binFolder, "meshctl"), args...)
}

// build makes static, stamped binaries; the tag of the images follows from their content.
func build(ctx context.Context, p *play) error {
	if err := p.command(ctx, ".", nil, "go", "run", "./manifests/crds/gen"); err != nil {
		return err
	}
	hash := sha256.New()
	for _, b := range append(binaries, struct{ image, pkg, user string }{"meshctl", "./cmd/meshctl", ""}) {
		path := filepath.Join(binFolder, b.image)
		if err := p.command(ctx, ".", []string{"CGO_ENABLED=0"}, "go", "build", "-ldflags", "-s -w -X main.version="+p.version, "-o", path, b.pkg); err != nil {
			return err
		}
		if b.image == "meshctl" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		sum := sha256.Sum256(content)
		hash.Write(sum[:])
	}
	p.tag = "demo-" + hex.EncodeToString(hash.Sum(nil))[:12]
	return nil
}

func makeImages(ctx context.Context, p *play) error {
	if err := os.MkdirAll(outFolder, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", outFolder, err)
	}
	for _, b := range binaries {
		if err := p.command(ctx, ".", []string{"CGO_ENABLED=0"}, "go", "run", "./manifests/images", "-version", p.tag, "-out", outFolder, "-prefix", p.registry+"/",
			"-user", b.user, b.image+"="+filepath.Join(binFolder, b.image)); err != nil {
			return err
		}
	}
	if !p.own {
		return nil
	}
	// The samples name the shop's image as people apply them after the tour.
	return p.command(ctx, ".", []string{"CGO_ENABLED=0"}, "go", "run", "./manifests/images", "-version", sampleTag, "-file", sampleArchive, "-prefix", p.registry+"/",
		"-user", "10001", "shop="+filepath.Join(binFolder, "shop"))
}

// image is the full name of one of our images.
func (p *play) image(name string) string { return p.registry + "/" + name + ":" + p.tag }
