// Package lifecycle brings the cluster up and takes it down. It is where plan, machine, programs and images meet; what it decides is only the
// order, and what to do about a cluster that is there already.
package lifecycle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/artifacts"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/machine"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/proc"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/progress"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/render"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/supervise"
)

const (
	marker     = ".heddle-cluster" // in every state folder of ours: only such a folder is ever deleted
	finished   = "complete"        // there once a start has come to its end
	cgroup     = "heddle"          // above all nodes'
	kubeletDir = "/var/lib/kubelet"
	cniDir     = "/var/lib/cni"
)

// Cluster is the one cluster of this machine.
type Cluster struct {
	Plan    plan.Plan
	Layout  plan.Layout
	Report  *progress.Report
	Builder artifacts.Builder
	BuiltAt string // the log of builds and installations
}

// Up leaves a healthy cluster, whatever it finds.
func (c Cluster) Up(ctx context.Context) error {
	if err := c.claim(); err != nil {
		return err
	}
	if err := c.prepareMachine(ctx); err != nil {
		return err
	}
	made, err := c.build(ctx)
	if err != nil {
		return err
	}
	if c.alive() && c.complete() {
		err := c.Report.Step("looking at the running cluster", func() error { return c.ready(ctx, 30*time.Second) })
		if err == nil {
			c.mentionAge(made)
			return c.loadOwn(ctx, made.images)
		}
		c.Report.Say("the running cluster is not healthy and is started anew")
	}
	if err := c.Down(ctx); err != nil {
		return err
	}
	return c.start(ctx, made)
}

// record says where the state of this machine's cluster is, so that a call with another state folder does not touch what it cannot know.
const record = "/run/heddle-cluster.state"

// claim refuses to go on beside a running cluster with another state folder: every name and address would be shared with it.
func (c Cluster) claim() error {
	other, err := os.ReadFile(record)
	if err != nil || string(other) == c.Layout.Root {
		return nil
	}
	there := Cluster{Plan: c.Plan, Layout: plan.Layout{Root: string(other)}}
	if there.alive() {
		return fmt.Errorf("another cluster runs, with its state in %s: take that one down first", other)
	}
	return nil
}

func (c Cluster) prepareMachine(ctx context.Context) error {
	missing := machine.MissingPackages()
	if len(missing) == 0 {
		return nil
	}
	return c.Report.Step(fmt.Sprintf("installing Debian packages %v", missing), func() error {
		return c.logged(func(log *os.File) error { return machine.Install(ctx, missing, log) })
	})
}

// made are the files that a start needs.
type made struct {
	kubernetes string
	images     []string
}

func (c Cluster) build(ctx context.Context) (made, error) {
	var m made
	step := func(name string, build func(b artifacts.Builder) error) error {
		return c.Report.Step(name, func() error {
			return c.logged(func(log *os.File) error {
				b := c.Builder
				b.Log = log
				return build(b)
			})
		})
	}
	err := step("Kubernetes "+plan.KubernetesVersion+" (the first build takes 6 to 8 minutes)", func(b artifacts.Builder) (err error) {
		m.kubernetes, err = b.Kubernetes(ctx)
		return err
	})
	if err != nil {
		return made{}, err
	}
	return m, step("CoreDNS, toolbox and images", func(b artifacts.Builder) (err error) {
		m.images, err = b.Images(ctx)
		return err
	})
}

// logged runs something with the log of builds, which a failure then names.
func (c Cluster) logged(run func(log *os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(c.BuiltAt), 0o755); err != nil {
		return err
	}
	log, err := os.Create(c.BuiltAt)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := run(log); err != nil {
		return &progress.LogError{Log: c.BuiltAt, Err: err}
	}
	return nil
}

// alive says whether every group of processes still runs.
func (c Cluster) alive() bool {
	for _, g := range c.Plan.Groups() {
		if id, err := proc.Load(c.Layout.Process(g)); err != nil || !id.Alive() {
			return false
		}
	}
	return true
}

// mentionAge says so where a healthy cluster was started by another build of this program, or runs another Kubernetes: it is kept all the same.
func (c Cluster) mentionAge(m made) {
	if have, err := os.ReadFile(c.fingerprintPath()); err == nil && string(have) != c.fingerprint(m) {
		c.Report.Say("the running cluster is kept, though this program would start a slightly different one: `make cluster-down` first for that")
	}
}

func (c Cluster) fingerprintPath() string { return filepath.Join(c.Layout.Root, "fingerprint") }

// fingerprint is a digest of everything that a start would write.
func (c Cluster) fingerprint(m made) string {
	h := sha256.New()
	fmt.Fprintln(h, m.kubernetes, c.Plan.Commands())
	_ = json.NewEncoder(h).Encode(render.Groups(c.Plan, c.Layout))
	h.Write(render.DNS(c.Plan))
	for _, n := range c.Plan.Nodes {
		h.Write(render.Kubelet(c.Plan, c.Layout, n))
		h.Write(render.Containerd(c.Layout, n))
		h.Write(render.CNI(n))
	}
	h.Write(render.Proxy(c.Plan, c.Layout))
	return hex.EncodeToString(h.Sum(nil))
}

// complete says whether the cluster was once started to the end. One that was not is not worth waiting for.
func (c Cluster) complete() bool {
	_, err := os.Stat(filepath.Join(c.Layout.Root, finished))
	return err == nil
}

// Down leaves nothing of a cluster, however it ended. Without one it does nothing.
func (c Cluster) Down(context.Context) error {
	if err := c.claim(); err != nil {
		return err
	}
	if !c.traces() {
		return nil
	}
	return c.Report.Step("taking the cluster down", c.clean)
}

// traces says whether there is anything of a cluster on this machine.
func (c Cluster) traces() bool {
	paths := []string{c.Layout.Root, record, "/sys/fs/cgroup/" + cgroup, "/sys/fs/cgroup/memory/" + cgroup, "/sys/class/net/" + plan.MachineLink}
	for _, ns := range c.Plan.Namespaces() {
		paths = append(paths, "/run/netns/"+ns)
	}
	for _, p := range paths {
		if _, err := os.Lstat(p); err == nil {
			return true
		}
	}
	return false
}

// clean ends the groups, with them everything that runs on the nodes, and removes what outlives processes.
func (c Cluster) clean() error {
	if err := c.ours(); err != nil {
		return err
	}
	groups := c.Plan.Groups()
	failed := make(chan error, len(groups))
	for _, g := range groups {
		go func() {
			failed <- c.end(g)
		}()
	}
	var errs []error
	for range groups {
		errs = append(errs, <-failed)
	}
	machine.RestoreTunables(c.Layout.Data("tunables"))
	errs = append(errs,
		machine.RemoveNamespaces(c.Plan.Namespaces(), plan.MachineLink),
		machine.RemoveCgroups(cgroup))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, dir := range []string{kubeletDir, cniDir} {
		_ = os.Remove(dir) // made as a mount point; stays where it holds anything
	}
	if err := machine.RemoveFolder(c.Layout.Root); err != nil {
		return err
	}
	if err := os.Remove(record); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the cluster's record: %w", err)
	}
	return nil
}

// end ends a group: the process that was written down, and one that runs the very same group though its record is lost.
func (c Cluster) end(group string) error {
	id, err := proc.Load(c.Layout.Process(group))
	if err != nil {
		return err
	}
	lost, err := proc.Running(supervise.Line(c.Layout.Self(), c.Layout.Spec(group)))
	if err != nil {
		return err
	}
	for _, id := range append(lost, id) {
		if id.PID == 0 {
			continue
		}
		if err := id.End(3 * time.Second); err != nil {
			return err
		}
	}
	return nil
}

// ours refuses a state folder that this program did not make.
func (c Cluster) ours() error {
	entries, err := os.ReadDir(c.Layout.Root)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the state folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(c.Layout.Root, marker)); err != nil {
		return fmt.Errorf("the folder %s holds something else than a cluster's state", c.Layout.Root)
	}
	return nil
}
