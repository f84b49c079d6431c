// Package artifacts builds what the cluster runs: the Kubernetes binary, CoreDNS, the toolbox and their images. Each is kept outside the tree
// under a name that holds a digest of all that went into it, so that nothing is built twice. It starts nothing.
package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
)

// Builder builds from a source tree into a cache.
type Builder struct {
	Cache  string // folder
	Source string // the folder of this module, tests/cluster
	Log    io.Writer
}

// binary is one program to build.
type binary struct {
	name    string
	folder  string // relative to Source
	ldflags string
	imports []string // further folders of this module that go into it
}

// stamp makes the Kubernetes programs say their version: without it they call themselves v0.0.0, and clients refuse them.
func stamp() string {
	const pkg = "k8s.io/component-base/version."
	major, minor, _ := strings.Cut(strings.TrimPrefix(plan.KubernetesVersion, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	return fmt.Sprintf("-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s -X %sgitTreeState=clean",
		pkg, plan.KubernetesVersion, pkg, major, pkg, minor, pkg)
}

// Kubernetes is the path of the binary of all Kubernetes programs.
func (b Builder) Kubernetes(ctx context.Context) (string, error) {
	return b.build(ctx, binary{"heddle-k8s-" + plan.KubernetesVersion, "cmd/kubernetes", stamp(), nil})
}

// Toolbox is the path of the test programs' binary.
func (b Builder) Toolbox(ctx context.Context) (string, error) {
	return b.build(ctx, binary{"toolbox", "cmd/toolbox", "-s -w", []string{"internal/mirror"}})
}

// CoreDNS is the path of CoreDNS.
func (b Builder) CoreDNS(ctx context.Context) (string, error) {
	return b.build(ctx, binary{"coredns", "cmd/coredns", "-s -w", nil})
}

// build makes a static binary where the cache has none of the same inputs.
func (b Builder) build(ctx context.Context, bin binary) (string, error) {
	inputs := []string{filepath.Join(b.Source, "go.mod"), filepath.Join(b.Source, "go.sum")}
	for _, folder := range append([]string{bin.folder}, bin.imports...) {
		files, err := filepath.Glob(filepath.Join(b.Source, folder, "*.go"))
		if err != nil {
			return "", err
		}
		if len(files) == 0 {
			return "", fmt.Errorf("building %s: %s holds no sources: run this inside the source tree", bin.name, filepath.Join(b.Source, folder))
		}
		inputs = append(inputs, files...)
	}
	digest, err := digestOf(inputs, runtime.Version(), runtime.GOARCH, bin.ldflags)
	if err != nil {
		return "", err
	}
	return b.keep(bin.name, digest, func(path string) error {
		return b.run(ctx, b.Source, "go", "build", "-buildvcs=false", "-ldflags", bin.ldflags, "-o", path, "./"+bin.folder)
	})
}

// Images are OCI archives of everything that the cluster itself needs, made by the very tool that makes Heddle's own.
func (b Builder) Images(ctx context.Context) ([]string, error) {
	toolbox, err := b.Toolbox(ctx)
	if err != nil {
		return nil, err
	}
	coredns, err := b.CoreDNS(ctx)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(b.Source, "..", "..")
	tool, err := filepath.Glob(filepath.Join(root, "manifests/images", "*.go"))
	if err != nil {
		return nil, err
	}
	var archives []string
	for _, image := range []struct{ ref, binary, command, user string }{
		{plan.PauseImage, toolbox, "/toolbox,pause", "65535"},
		{plan.ToolboxImage, toolbox, "/toolbox", "1000"},
		{plan.DNSImage, coredns, "/coredns", "0"},
	} {
		digest, err := digestOf(tool, image.ref, filepath.Base(image.binary), image.command, image.user)
		if err != nil {
			return nil, err
		}
		name, tag, _ := strings.Cut(strings.TrimPrefix(image.ref, "heddle.local/"), ":")
		archive, err := b.keep("image-"+name, digest, func(path string) error {
			bin, _, _ := strings.Cut(strings.TrimPrefix(image.command, "/"), ",")
			return b.run(ctx, root, "go", "run", "-buildvcs=false", "./manifests/images", "-version="+tag, "-file="+path, "-user="+image.user,
				"-entrypoint="+image.command, name+"="+bin+":"+image.binary)
		})
		if err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// keep returns the cached file of that name and digest. Where there is none, make writes one, and those of other digests go.
func (b Builder) keep(name, digest string, make func(path string) error) (string, error) {
	path := filepath.Join(b.Cache, name+"-"+digest)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return "", fmt.Errorf("making the cache: %w", err)
	}
	partial := path + ".partial"
	if err := make(partial); err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	old, err := filepath.Glob(filepath.Join(b.Cache, name+"-"+strings.Repeat("?", len(digest))))
	if err != nil {
		return "", err
	}
	for _, o := range old {
		_ = os.Remove(o)
	}
	return path, os.Rename(partial, path)
}

// economy replaces the user's GOFLAGS. The compiler collects no garbage below 2 GiB, works alone and describes nothing to debuggers, which saves
// some 40 % of the processors: go build runs as many compilers as there are.
const economy = "GOFLAGS='-toolexec=env GOGC=off GOMEMLIMIT=2GiB GOMAXPROCS=1' -gcflags=all=-dwarf=false"

func (b Builder) run(ctx context.Context, dir string, args ...string) error {
	fmt.Fprintf(b.Log, "$ %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, b.Log, b.Log
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", economy, "GOOS=linux", "GOWORK=off")
	return cmd.Run()
}

// digestOf is a short digest of files' contents and of further facts.
func digestOf(files []string, facts ...string) (string, error) {
	h := sha256.New()
	sort.Strings(files)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("looking for what changed: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(f), len(data))
		h.Write(data)
	}
	for _, f := range facts {
		fmt.Fprintf(h, "%q\n", f)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
