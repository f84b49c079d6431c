package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	release "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// The older release, which upgrades start from and rollbacks lead to: the last commit whose proxies announce olderDialect. It is built from the history.
const (
	olderCommit  = "fdf6a058500ad20025b290b9d19cf55d7edb4632"
	olderDialect = 1
)

// version is a release of Heddle, and how its own meshctl is run.
type version struct {
	name, tag string // the tag is its images'
	must      func(args ...string)
}

// install puts the version's control plane in the place of the one that is there.
func (v version) install(x *installation) {
	x.t.Helper()
	v.must("install", "-f", x.values(v.name, map[string]any{"image": map[string]any{"tag": v.tag}}))
}

// door gives the gateway the version's proxy.
func (v version) door() {
	v.must("gateway", "install", doorService, "--namespace", tour.GatewayNamespace)
}

// changeover is a trial while the control plane changes its version. Some pods stay as they are.
type changeover struct {
	*trial
	x       *installation
	state   int // of the route
	client  *corev1.Pod
	dialect map[*corev1.Pod]int // of the proxies that stay
}

// upgraded goes back to the older release under load, on to the present one, and once more. Proxies of both serve and ask all the time, and every
// control plane tells all of them what changes. Pods and gateways that start meanwhile get the proxy of the version that is there.
func upgraded(t *testing.T, c *tour.Cluster) {
	x := newInstallation(t)
	present := x.present()
	older := x.older()
	u := &changeover{trial: newTrial(t, c, "upgraded", backend{replicas: 2, more: laterRule}), x: x, dialect: map[*corev1.Pod]int{}}
	t.Cleanup(func() {
		if t.Failed() {
			present.install(x)
			present.door()
		}
	})
	u.stays("present", wire.Dialect)
	u.start("/items")
	for n, v := range []version{older, present, older, present} {
		u.to(v)
		if n == 0 {
			u.stays("older", olderDialect)
			u.asks(olderDialect)
		}
	}
	for _, answer := range u.finish(0) {
		if answer.Versions["present"] == 0 || answer.Versions["older"] == 0 {
			t.Errorf("not all that stay have served: %s", answer)
		}
	}
}

// laterRule is of a later dialect, and says what the older release has no word for.
const laterRule = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: NAME, namespace: shop}
spec:
  host: NAME
  trafficPolicy:
    loadBalancer: {consistentHash: {httpHeaderName: x-user}}
    retryBudget: {percent: 100, minRetryConcurrency: 100, budgetInterval: 10s}
`

const stayingServer = `
apiVersion: v1
kind: Pod
metadata: {name: upgraded-%[1]s, namespace: shop, labels: {app: upgraded, stays: %[1]s}}
spec:
  serviceAccountName: catalog
  containers:
  - name: app
    image: heddle.local/shop:demo
    imagePullPolicy: IfNotPresent
    args: [catalog]
    env: [{name: VERSION, value: %[1]s}]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
`

// stays makes a server with the proxy of the version that is there, beside the backend's pods.
func (u *changeover) stays(name string, dialect int) {
	u.t.Helper()
	apply(u.t, u.Cluster, fmt.Sprintf(stayingServer, name))
	eventually(u.t, u.t.Context(), 2*time.Minute, func() error {
		p, err := u.Pod(u.t.Context(), tour.ShopNamespace, "stays="+name)
		if err == nil {
			u.dialect[p] = dialect
		}
		return err
	})
}

// asks makes a client with the proxy of the version that is there, and has it ask until the end.
func (u *changeover) asks(dialect int) {
	u.t.Helper()
	const name = "upgraded-client"
	apply(u.t, u.Cluster, fmt.Sprintf(lodger, name, true))
	asks(u.t, u.Cluster, "app="+name)
	u.client = u.pod(tour.ShopNamespace, "app="+name)
	u.dialect[u.client] = dialect
	for what, args := range map[string][]string{"HTTP/1.1": nil, "HTTP/2": {"-h2"}, "new connections": {"-fresh"}} {
		u.load("an older proxy, "+what, u.client, u.url("/items"), args...)
	}
}

// to installs a version over the other, then gives the gateway and the backend its proxies. A route changes before and after that.
func (u *changeover) to(v version) {
	u.t.Helper()
	start := time.Now()
	v.install(u.x)
	u.changes()
	u.told(v)
	v.door()
	if err := u.Roll(u.t.Context(), tour.ShopNamespace, u.name); err != nil {
		u.t.Fatal(err)
	}
	u.settled()
	u.injectedWith(v)
	u.changes()
	u.told(v)
	u.t.Logf("%s is there, and all know: %v", v.tag, time.Since(start).Round(time.Second))
}

// changes applies a state of the route, and waits until it is in force for all.
func (u *changeover) changes() {
	u.t.Helper()
	u.state++
	if err := u.Apply(u.t.Context(), route(u.name, u.state)); err != nil {
		u.t.Fatal(err)
	}
	u.sees(u.state)
	if u.client != nil {
		u.shown(u.state, u.client, u.url("/items"))
	}
}

// told wants all proxies to have what they were told, and those that stay, and the gateway's, to have refused nothing.
func (u *changeover) told(v version) {
	u.t.Helper()
	u.x.synced()
	none := func(p *corev1.Pod) {
		u.t.Helper()
		if n, _, err := u.PodMetric(u.t.Context(), p, "heddle_proxy_xds_refusals_total", nil); err != nil || n != 0 {
			u.t.Errorf("under %s, %s/%s has refused %v times what it was told (%v)", v.tag, p.Namespace, p.Name, n, err)
		}
	}
	none(u.pod(tour.GatewayNamespace, doorSelector))
	for p, dialect := range u.dialect {
		none(p)
		if got := u.x.status(p).Dialect; got != dialect && v.name == "present" { // the older one does not tell
			u.t.Errorf("%s has dialect %d, want %d", p.Name, got, dialect)
		}
	}
}

// injectedWith wants the backend's pods, and the gateway's, to have the proxy of a version.
func (u *changeover) injectedWith(v version) {
	u.t.Helper()
	pods, err := u.Pods(u.t.Context(), tour.ShopNamespace, "app="+u.name+",!stays")
	if err != nil || len(pods) == 0 {
		u.t.Fatalf("%d pods, %v", len(pods), err)
	}
	for _, p := range append(pods, *u.pod(tour.GatewayNamespace, doorSelector)) {
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			if c.Name == wire.ProxyContainer && !strings.HasSuffix(c.Image, ":"+v.tag) {
				u.t.Errorf("%s has the proxy %s, want one of %s", p.Name, c.Image, v.tag)
			}
		}
	}
}

// present is the version that is there.
func (x *installation) present() version {
	x.t.Helper()
	found, err := helmOf(x.t, x.path, wire.SystemNamespace).Releases.Last("heddle")
	if err != nil {
		x.t.Fatal(err)
	}
	image := tagged(found.(*release.Release))["image"].(map[string]any)
	return version{"present", fmt.Sprint(image["tag"]), x.must}
}

// older builds the older release, and brings its images to the nodes.
func (x *installation) older() version {
	x.t.Helper()
	if out, err := exec.CommandContext(x.t.Context(), "git", "cat-file", "-e", olderCommit+"^{commit}").CombinedOutput(); err != nil {
		x.t.Fatalf("the history does not hold the older release, commit %s: %v: %s", olderCommit, err, out)
	}
	dir, tag := x.t.TempDir(), "older-"+olderCommit[:12]
	tree, bin := filepath.Join(dir, "tree"), filepath.Join(dir, "bin")
	x.command(".", "git", "worktree", "add", "--detach", tree, olderCommit)
	x.t.Cleanup(func() { x.command(".", "git", "worktree", "remove", "--force", tree) })
	x.command(tree, "go", "run", "./manifests/crds/gen")
	x.command(tree, "go", "build", "-ldflags", "-s -w -X main.version="+tag, "-o", bin+"/", "./cmd/heddled", "./cmd/heddle-proxy", "./cmd/meshctl")
	x.command(tree, "go", "run", "./manifests/images", "-version", tag, "-out", dir, "heddled="+bin+"/heddled", "heddle-proxy="+bin+"/heddle-proxy")
	x.command("../cluster", "go", "run", "./cmd/cluster", "load", filepath.Join(dir, "heddled.tar"), filepath.Join(dir, "heddle-proxy.tar"))
	return version{"older", tag, func(args ...string) {
		x.t.Helper()
		x.command(".", filepath.Join(bin, "meshctl"), append(args, "--kubeconfig", x.path)...)
	}}
}

// command runs a program in a folder.
func (x *installation) command(dir, program string, args ...string) {
	x.t.Helper()
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		x.t.Fatalf("%s: %v: %s", strings.Join(cmd.Args, " "), err, out)
	}
}
