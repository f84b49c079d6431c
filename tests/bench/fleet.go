package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/bench/load"
	"github.com/heddle-mesh/heddle/tests/bench/plane"
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
)

// bench is what all experiments share.
type bench struct {
	settings
	proxy    string // Heddle's proxy, built for this run
	dir      string
	backends map[string]*process // by kind
}

// start pins this program away from the proxies' core, builds Heddle's proxy and starts the backends.
func (b *bench) start(ctx context.Context) error {
	if err := pinAll(others); err != nil {
		return err
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "heddle-bench-"); err != nil {
		return err
	}
	b.proxy = filepath.Join(b.dir, "heddle-proxy")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.proxy, "github.com/heddle-mesh/heddle/tests/bench/proxy")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building Heddle's proxy: %w\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.backends = map[string]*process{}
	for kind := range load.Backends() {
		addr, err := freeAddr("127.0.0.1")
		if err != nil {
			return err
		}
		p, err := spawn(ctx, others, self, "-backend", kind, "-listen", addr)
		if err != nil {
			return err
		}
		b.backends[kind] = p
		if err := p.await(ctx, addr); err != nil {
			return err
		}
		p.addr = addr
	}
	return nil
}

func (b *bench) stop() {
	for _, p := range b.backends {
		p.stop()
	}
	_ = os.RemoveAll(b.dir)
}

// at is the address of a backend.
func (b *bench) at(kind string) string { return b.backends[kind].addr }

func (b *bench) port(kind string) string { return portOf(b.at(kind)) }

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // it is of our own making
	return port
}

// fleet is the processes of a contender, counted together.
type fleet struct {
	addr  string // where clients go
	tcp   string // and where bytes go
	plane *plane.Plane
	mesh  gatewayMesh
	procs []*process
	dirs  []string
}

func (f *fleet) stop() {
	for _, p := range f.procs {
		p.stop()
	}
	if f.plane != nil {
		f.plane.Close()
	}
	for _, dir := range f.dirs {
		_ = os.RemoveAll(dir)
	}
}

// cpu is the time that the processes have run.
func (f *fleet) cpu() (sum time.Duration, err error) {
	for _, p := range f.procs {
		d, err := p.cpu()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// memory is what the processes have in memory, in bytes.
func (f *fleet) memory() (sum float64, err error) {
	for _, p := range f.procs {
		n, err := p.memory()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// costing runs a load and returns the time that the fleet ran meanwhile.
func (f *fleet) costing(run func() error) (time.Duration, error) {
	before, err := f.cpu()
	if err != nil {
		return 0, err
	}
	if err := run(); err != nil {
		return 0, errors.Join(err, f.refusals())
	}
	after, err := f.cpu()
	return after - before, err
}

func (f *fleet) refusals() error {
	if f.plane == nil {
		return nil
	}
	return f.plane.Refusals()
}

// guest is a pod whose proxy is started.
type guest struct{ node, pod, ip string }

// launcher starts a proxy of a control plane.
type launcher func(ctx context.Context, p *plane.Plane, g guest) (*process, error)

// heddle launches our own.
func (b *bench) heddle(ctx context.Context, p *plane.Plane, g guest) (*process, error) {
	return b.build(ctx, b.proxy, p, g)
}

// earlier launches the build of our own that it is compared with.
func (b *bench) earlier(ctx context.Context, p *plane.Plane, g guest) (*process, error) {
	return b.build(ctx, b.before, p, g)
}

func (b *bench) build(ctx context.Context, binary string, p *plane.Plane, g guest, more ...string) (*process, error) {
	args := append(more, "-node", g.node, "-pod", g.pod, "-namespace", plane.Namespace, "-ip", g.ip, "-discovery", p.Socket(), "-signer", p.SigningSocket(), "-roots", p.Roots())
	if b.profile != "" {
		args = append(args, "-profile", filepath.Join(b.profile, fmt.Sprintf("%s-%d.pprof", g.pod, time.Now().UnixNano())))
	}
	return spawn(ctx, proxyCore, binary, args...)
}

// onDemand launches our own so that it asks for what it uses.
func (b *bench) onDemand(ctx context.Context, p *plane.Plane, g guest) (*process, error) {
	return b.build(ctx, b.proxy, p, g, "-on-demand")
}

// envoy launches the stock one.
func (*bench) envoy(ctx context.Context, p *plane.Plane, g guest) (*process, error) {
	binary, err := envoy.Binary(ctx)
	if err != nil {
		return nil, err
	}
	certificate, err := p.Certificate(ctx, g.pod)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "heddle-bench-envoy-")
	if err != nil {
		return nil, err
	}
	options := envoy.Options{ID: fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", g.node, g.ip, g.pod, plane.Namespace, plane.Namespace),
		Metadata: map[string]any{wire.MetaCertificates: certificate}, Discovery: p.Socket()}
	config, err := options.Bootstrap(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	file := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	process, err := spawn(ctx, proxyCore, binary, "--config-path", file, "--log-level", "critical", "--concurrency", "1", "--disable-hot-restart")
	return in(dir)(process, err)
}

// gateway starts a control plane and a gateway of it.
func (b *bench) gateway(ctx context.Context, launch launcher, m gatewayMesh, tcp string) (*fleet, error) {
	http, err := freeAddr(edgeIP)
	if err != nil {
		return nil, err
	}
	bytes, err := freeAddr(edgeIP)
	for err == nil && bytes == http { // nobody has listened there yet
		bytes, err = freeAddr(edgeIP)
	}
	if err != nil {
		return nil, err
	}
	m.HTTPPort, m.TCPPort, m.HTTP, m.GRPC, m.TCP = portOf(http), portOf(bytes), b.port("http"), b.port("grpc"), b.port(tcp)
	text, err := m.text()
	if err != nil {
		return nil, err
	}
	f := &fleet{addr: http, tcp: bytes, mesh: m}
	return f, f.launch(ctx, text, launch, nil, guest{wire.NodeRouter, edgePod, edgeIP})
}

// pair starts a control plane and two sidecars of it.
func (b *bench) pair(ctx context.Context, launch launcher) (*fleet, error) {
	client, err := freeAddr(clientIP)
	if err != nil {
		return nil, err
	}
	server, err := freeAddr(serverIP)
	if err != nil {
		return nil, err
	}
	f := &fleet{addr: client}
	places := map[string]plane.Place{clientPod: {Address: netip.MustParseAddrPort(client)}, serverPod: {Address: netip.MustParseAddrPort(server), Inbound: true}}
	return f, f.launch(ctx, pairMesh(portOf(server), b.port("http")), launch, places,
		guest{wire.NodeSidecar, clientPod, clientIP}, guest{wire.NodeSidecar, serverPod, serverIP})
}

// server starts a control plane and a server's sidecar.
func (b *bench) server(ctx context.Context, launch launcher) (*fleet, error) {
	server, err := freeAddr(serverIP)
	if err != nil {
		return nil, err
	}
	f := &fleet{addr: server}
	places := map[string]plane.Place{serverPod: {Address: netip.MustParseAddrPort(server), Inbound: true}}
	return f, f.launch(ctx, pairMesh(portOf(server), b.port("http")), launch, places, guest{wire.NodeSidecar, serverPod, serverIP})
}

// launch starts the control plane and the proxies, and waits until clients are listened to. The fleet is gone where it fails.
func (f *fleet) launch(ctx context.Context, mesh string, launch launcher, places map[string]plane.Place, guests ...guest) (err error) {
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	if f.plane, err = plane.New(); err != nil {
		return fmt.Errorf("starting a control plane: %w", err)
	}
	for pod, at := range places {
		f.plane.Place(pod, at)
	}
	if f.mesh.Limit {
		f.plane.Limit(edgePod)
	}
	in, err := plane.Read(mesh)
	if err != nil {
		return err
	}
	if err := f.plane.Show(in); err != nil {
		return err
	}
	for _, g := range guests {
		if err := f.plane.Admits(ctx, g.node, g.pod); err != nil {
			return err
		}
		p, err := launch(ctx, f.plane, g)
		if err != nil {
			return err
		}
		f.procs = append(f.procs, p)
		at := f.addr
		if to, placed := places[g.pod]; placed {
			at = to.Address.String()
		}
		if err := p.await(ctx, at); err != nil {
			return errors.Join(err, f.refusals())
		}
	}
	return nil
}

// answers waits until a request is answered as it should be.
func (f *fleet) answers(ctx context.Context, request []byte) (err error) {
	probe := load.HTTP{Address: f.addr, Connections: 1, For: time.Nanosecond, Request: func(int) []byte { return request }}
	for until := time.Now().Add(startWithin); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(lookEvery) {
		seen := probe.Run(ctx)
		if err = seen.Check(); err == nil {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("no answer from %s: %w", f.addr, err), f.refusals())
}

// plain is a fleet of processes that were configured by files.
func plain(addr string, procs ...*process) *fleet {
	return &fleet{addr: addr, tcp: addr, procs: slices.Clone(procs)}
}

// pinAll binds this program's threads, and so all that it starts, to the cores that proxies are not on.
func pinAll(core int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	want, err := coresFor(core)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		var tid int
		if _, err := fmt.Sscan(t.Name(), &tid); err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, want); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("setting the affinity: %w", err)
		}
	}
	runtime.GOMAXPROCS(want.Count())
	return nil
}
