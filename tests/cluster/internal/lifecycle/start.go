package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/machine"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/progress"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/render"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/supervise"
)

// start makes a cluster on a clean machine.
func (c Cluster) start(ctx context.Context, m made) error {
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"network, certificates and configuration", func() error { return c.prepare(m) }},
		{"control plane", func() error { return c.startControl(ctx) }},
		{"images", func() error { return c.loadOwn(ctx, m.images) }},
		{"nodes worker, edge and roamer, and the cluster's DNS", func() error {
			if err := c.Apply(ctx, render.DNS(c.Plan)); err != nil {
				return err
			}
			return c.ready(ctx, 2*time.Minute)
		}},
	} {
		if err := c.Report.Step(step.name, step.run); err != nil {
			return err
		}
	}
	if err := os.WriteFile(c.fingerprintPath(), []byte(c.fingerprint(m)), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Layout.Root, finished), nil, 0o600)
}

// prepare writes and makes everything that the programs find when they start.
func (c Cluster) prepare(m made) error {
	p := c.Plan
	if err := machine.Conflict([]netip.Prefix{p.NodeNet, p.Pods, p.Services, p.Pool}, plan.MachineLink); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Layout.Data("tunables"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.Layout.Root, marker), nil, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(record, []byte(c.Layout.Root), 0o600); err != nil {
		return err
	}
	if err := machine.SaveTunables(c.Layout.Data("tunables")); err != nil {
		return err
	}
	if err := machine.Raise(); err != nil {
		return err
	}
	if err := c.installBinaries(m); err != nil {
		return err
	}
	if err := c.writeIdentities(time.Now()); err != nil {
		return err
	}
	if err := c.writeConfiguration(); err != nil {
		return err
	}
	var cgroups []string
	for _, n := range p.Nodes {
		cgroups = append(cgroups, render.CgroupRoot(n.Name))
	}
	if err := machine.MakeCgroups(cgroups); err != nil {
		return err
	}
	return machine.Network(p.Commands())
}

// installBinaries puts what runs into the state folder, so that neither a new build nor an emptied cache pulls it from under the cluster.
func (c Cluster) installBinaries(m made) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for to, from := range map[string]string{c.Layout.Kubernetes(): m.kubernetes, c.Layout.Self(): self} {
		if err := install(from, to); err != nil {
			return fmt.Errorf("installing %s: %w", filepath.Base(to), err)
		}
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s kubectl --kubeconfig=%s \"$@\"\n", c.Layout.Kubernetes(), c.Layout.Kubeconfig())
	return os.WriteFile(c.Layout.Binary("kubectl"), []byte(script), 0o755)
}

func install(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if os.Link(from, to) == nil {
		return os.Chmod(to, 0o755)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func (c Cluster) writeConfiguration() error {
	l := c.Layout
	files := map[string][]byte{
		l.PKI("proxy.yaml"):                   render.Proxy(c.Plan, l),
		l.Data(plan.Control, "resolv.conf"):   render.Resolv(c.Plan),
		filepath.Join(l.Root, "groups/.keep"): nil,
	}
	for _, n := range c.Plan.Nodes {
		files[l.Node(n.Name, "containerd.toml")] = render.Containerd(l, n)
		files[l.Node(n.Name, "kubelet.yaml")] = render.Kubelet(c.Plan, l, n)
		files[l.Node(n.Name, "cni", "10-heddle.conflist")] = render.CNI(n)
	}
	for path, data := range files {
		if err := write(path, data, 0o644); err != nil {
			return err
		}
	}
	for name, group := range render.Groups(c.Plan, l) {
		if err := os.MkdirAll(l.Logs(name), 0o755); err != nil {
			return err
		}
		if err := group.Save(l.Spec(name)); err != nil {
			return err
		}
	}
	return os.MkdirAll(l.Data(plan.Control, "etcd"), 0o700)
}

func write(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, mode)
}

// startControl starts everything, and returns when the API server answers: nodes start meanwhile.
func (c Cluster) startControl(ctx context.Context) error {
	for _, g := range c.Plan.Groups() {
		netns := plan.Namespace(g)
		if g == plan.Balancer {
			netns = "" // it sets the machine's own routes
		}
		id, err := supervise.Start(c.Layout.Self(), netns, c.Layout.Spec(g), c.Layout.Log(g, "supervisor"))
		if err != nil {
			return &progress.LogError{Log: c.Layout.Log(g, "supervisor"), Err: err}
		}
		if err := id.Save(c.Layout.Process(g)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := c.Client()
	if err != nil {
		return err
	}
	for {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		if !c.alive() {
			return c.dead()
		}
		if ctx.Err() != nil {
			return &progress.LogError{Log: c.Layout.Log(plan.Control, "kube-apiserver"), Err: fmt.Errorf("the API server is not ready: %w", err)}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Apply sends manifests to the API server.
func (c Cluster) Apply(ctx context.Context, manifests []byte) error {
	cmd := exec.CommandContext(ctx, c.Layout.Binary("kubectl"), "apply", "--server-side", "--force-conflicts", "-f", "-")
	cmd.Stdin = bytes.NewReader(manifests)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("applying manifests: %s: %w", bytes.TrimSpace(out), err)
	}
	return nil
}

// loadOwn loads the cluster's own images, unless they are there; a running cluster gets those that have changed since it was started.
func (c Cluster) loadOwn(ctx context.Context, archives []string) error {
	record := filepath.Join(c.Layout.Root, "images")
	want := strings.Join(archives, "\n")
	if have, err := os.ReadFile(record); err == nil && string(have) == want {
		return nil
	}
	if err := c.Load(ctx, archives); err != nil {
		return err
	}
	return os.WriteFile(record, []byte(want), 0o600)
}

// Load imports image archives into every node.
func (c Cluster) Load(ctx context.Context, archives []string) error {
	failed := make(chan error, len(c.Plan.Nodes))
	for _, n := range c.Plan.Nodes {
		go func() { failed <- c.loadNode(ctx, n.Name, archives) }()
	}
	var errs []error
	for range c.Plan.Nodes {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func (c Cluster) loadNode(ctx context.Context, node string, archives []string) error {
	for _, archive := range archives {
		if err := c.loadOne(ctx, node, archive); err != nil {
			return &progress.LogError{Log: c.Layout.Log(node, "containerd"), Err: fmt.Errorf("loading %s into %s: %w", archive, node, err)}
		}
	}
	return nil
}

// loadOne imports one archive; while containerd is still starting it tries again.
func (c Cluster) loadOne(ctx context.Context, node, archive string) error {
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		inside, err := c.Inside(node, "ctr", "-n", "k8s.io", "images", "import", "-")
		if err != nil {
			return err
		}
		file, err := os.Open(archive)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, inside[0], inside[1:]...)
		cmd.Stdin = file
		out, err := cmd.CombinedOutput()
		file.Close()
		if err == nil {
			return nil
		}
		starting := bytes.Contains(out, []byte("containerd.sock")) || bytes.Contains(out, []byte("unknown service"))
		if !starting || time.Now().After(until) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", bytes.TrimSpace(out), err)
		}
	}
}
