package interop

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/redirect"
	"github.com/heddle-mesh/heddle/injector/redirect/kernel"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/sidecar/role"
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
	"github.com/heddle-mesh/heddle/tests/internal/netlab"
	"github.com/heddle-mesh/heddle/tests/internal/process"
)

// guest is one pod: a host of the lab, its proxy, and what Services find it by.
type guest struct {
	name, namespace, account, ip string
	labels                       map[string]string
	proxy                        string // "envoy", "heddle" or "": none
	gateway                      bool
	port                         string        // where a program without a proxy listens
	dns                          string        // the DNS server whose questions the proxy (heddle) answers; "": none
	ttl                          time.Duration // of the proxy's (heddle) certificates; 0: an hour
	takeover                     string        // path at which the next process takes over from the proxy (heddle); "": none does
}

func (g guest) address() netip.Addr { return netip.MustParseAddr(g.ip) }

// yaml is the pod as a cluster has it.
func (g guest) yaml() string {
	labels, annotations := "", ""
	for k, v := range g.labels {
		labels += k + ": " + v + ", "
	}
	if g.proxy != "" && !g.gateway {
		labels += wire.TLSModeLabel + ": istio"
		annotations = wire.StatusAnnotation + ": injected"
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, uid: %s, labels: {%s}, annotations: {%s}}
spec: {serviceAccountName: %s, nodeName: worker, containers: [{name: app, image: app}]}
status: {phase: Running, podIP: %s, podIPs: [{ip: %s}], conditions: [{type: Ready, status: "True"}]}
`, g.name, g.namespace, g.name, labels, annotations, g.account, g.ip, g.ip)
}

// serviceYAML is a Service with its endpoints: ports are lists such as "http:80:8080".
func serviceYAML(name, namespace, ip string, ports []string, behind ...guest) string {
	var own, of []string
	for _, p := range ports {
		part := strings.Split(p, ":")
		own = append(own, fmt.Sprintf("{name: %s, port: %s, targetPort: %s}", part[0], part[1], part[2]))
		of = append(of, fmt.Sprintf("{name: %s, port: %s, protocol: TCP}", part[0], part[2]))
	}
	selector := "service: " + name
	if len(behind) == 1 {
		selector = "app: " + behind[0].labels["app"]
	}
	out := fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s}\nspec: {clusterIP: %s, clusterIPs: [%s], selector: {%s}, ports: [%s]}\n",
		name, namespace, ip, ip, selector, strings.Join(own, ", "))
	for _, g := range behind {
		out += fmt.Sprintf("---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: %s-%s, namespace: %s, labels: {kubernetes.io/service-name: %s}}\naddressType: IPv4\n"+
			"endpoints: [{addresses: [%s], conditions: {ready: true}, nodeName: worker, targetRef: {kind: Pod, name: %s, namespace: %s}}]\nports: [%s]\n",
			name, g.name, namespace, name, g.ip, g.name, g.namespace, strings.Join(of, ", "))
	}
	return out
}

// lab is a mesh of guests that run.
type lab struct {
	t     *testing.T
	plane *plane
	net   *netlab.Network
	hosts map[string]*netlab.Host // by guest

	proxies map[string]*process.Running // our own, by guest
	said    map[string]*strings.Builder // what they say, to be read once they have ended
}

const planeIP = "10.9.9.9"

// newLab starts the control plane and, guest by guest, hosts and proxies, and returns once all are ready.
func newLab(t *testing.T, text string, secrets map[string]model.Secret, guests []guest) *lab {
	t.Helper()
	envoy.Require(t)
	return startLab(t, text, secrets, guests)
}

// startLab is newLab where there is no Envoy.
func startLab(t *testing.T, text string, secrets map[string]model.Secret, guests []guest) *lab {
	t.Helper()
	l := &lab{t: t, net: netlab.New(t), hosts: map[string]*netlab.Host{}, proxies: map[string]*process.Running{}, said: map[string]*strings.Builder{}}
	for _, g := range guests {
		text += g.yaml()
	}
	l.plane = newPlane(t, []byte(text), secrets)
	l.plane.serve(l.net.Host(netip.MustParseAddr(planeIP)).Listen(net.JoinHostPort(planeIP, strconv.Itoa(wire.PortDiscovery))))
	var ready []func()
	for _, g := range guests {
		l.hosts[g.name] = l.net.Host(g.address())
		switch g.proxy {
		case "envoy":
			ready = append(ready, l.envoy(g))
		case "heddle":
			ready = append(ready, l.heddle(g))
		}
		if g.proxy != "" && !g.gateway {
			l.capture(g)
		}
	}
	for _, wait := range ready {
		wait()
	}
	return l
}

// capture redirects the guest's traffic to its proxy, as in a pod.
func (l *lab) capture(g guest) {
	l.t.Helper()
	spec := redirect.DefaultSpec()
	spec.DNS = g.dns
	c, err := spec.Config()
	if err != nil {
		l.t.Fatal(err)
	}
	l.hosts[g.name].Do(func() {
		if err := kernel.Apply(redirect.Rules(c)); err != nil {
			panic(err)
		}
	})
}

func (g guest) node() discovery.Node {
	kind := wire.NodeSidecar
	if g.gateway {
		kind = wire.NodeRouter
	}
	return discovery.Node{Type: kind, IPs: []string{g.ip}, Pod: g.name, Namespace: g.namespace, ServiceAccount: g.account,
		ClusterID: wire.DefaultClusterID, ClusterDomain: wire.DefaultClusterDomain, Names: g.dns != "", Allocated: g.dns != ""}
}

// envoy starts a stock Envoy as the guest's proxy. The agent has the certificate that it shows to everybody.
func (l *lab) envoy(g guest) (ready func()) {
	l.t.Helper()
	dir := l.plane.agent(g.namespace, g.name)
	e := envoy.Start(l.t, envoy.Options{
		ID: g.node().ID(), Metadata: map[string]any{wire.MetaCertificates: dir}, Discovery: net.JoinHostPort(planeIP, strconv.Itoa(wire.PortDiscovery)),
		TLS: l.plane.envoyTLS(dir), In: l.hosts[g.name].Enter, Group: wire.ProxyGID,
	})
	return e.Ready
}

// The environment of a heddle-proxy of a lab, which is this test program under another name.
const (
	envProxy = "INTEROP_PROXY" // the guest's node type
	envToken = "INTEROP_TOKEN"
	envRoots = "INTEROP_ROOTS"
	envDNS   = "INTEROP_DNS"
	envTTL   = "INTEROP_TTL" // of certificates
)

// heddle starts our own proxy beside the guest.
func (l *lab) heddle(g guest) (ready func()) {
	l.t.Helper()
	l.proxies[g.name], l.said[g.name] = l.launch(g, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: wire.ProxyGID}})
	return func() {
		l.t.Helper()
		client := l.client(g.name)
		for until := time.Now().Add(startWithin); time.Now().Before(until); time.Sleep(look) {
			answer, err := client.Get("http://127.0.0.1:" + strconv.Itoa(wire.PortReady) + wire.PathReady)
			if err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					return
				}
			}
		}
		l.t.Fatalf("heddle-proxy of %s is not ready", g.name)
	}
}

// launch starts a process of our own proxy beside the guest. What it says may be read once it has ended.
func (l *lab) launch(g guest, as *syscall.SysProcAttr) (*process.Running, *strings.Builder) {
	l.t.Helper()
	said := &strings.Builder{}
	cmd := exec.Command("/proc/self/exe") // this program, also for users who may not enter its folder
	cmd.Stderr = said
	cmd.Env = append(os.Environ(), envProxy+"="+g.node().Type, envToken+"="+l.plane.token(g.namespace, g.name), envRoots+"="+l.plane.roots, envDNS+"="+g.dns, envTTL+"="+cmp.Or(g.ttl, time.Hour).String(),
		wire.EnvPodName+"="+g.name, wire.EnvPodNamespace+"="+g.namespace, wire.EnvServiceAccount+"="+g.account, wire.EnvInstanceIPs+"="+g.ip, wire.EnvTakeover+"="+g.takeover)
	cmd.SysProcAttr = as
	running, err := process.Start(cmd, l.hosts[g.name].Enter)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		running.Kill()
		if l.t.Failed() {
			l.t.Logf("heddle-proxy of %s said:\n%s", g.name, said)
		}
	})
	return running, said
}

const startWithin = 30 * time.Second

// client asks from within a guest, by names that it resolves to the addresses of Services. It follows no redirects.
func (l *lab) client(guest string) *http.Client {
	host := l.hosts[guest]
	return &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: host.DialContext}} // compressing would have the proxy take memory
}

// TestMain is the tests, or a proxy of a lab.
func TestMain(m *testing.M) {
	if node := os.Getenv(envProxy); node != "" {
		if os.Getenv(envHeaps) != "" {
			runtime.MemProfileRate = 1 << 10
		}
		if err := proxy(node); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// proxy is cmd/heddle-proxy with its files elsewhere.
func proxy(node string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go obey(ctx, os.Getenv(envHeaps))
	r, known := role.ByNode(node)
	if !known {
		return fmt.Errorf("%q is no role", node)
	}
	g := guest{name: os.Getenv(wire.EnvPodName), namespace: os.Getenv(wire.EnvPodNamespace), account: os.Getenv(wire.EnvServiceAccount), ip: os.Getenv(wire.EnvInstanceIPs),
		gateway: r.Gateway, dns: os.Getenv(envDNS)}
	id, err := spiffe.New(wire.DefaultTrustDomain, g.namespace, g.account)
	if err != nil {
		return err
	}
	ttl, err := time.ParseDuration(os.Getenv(envTTL))
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	roots := identity.NewRoots(os.Getenv(envRoots))
	plane := identity.ControlPlane{Address: net.JoinHostPort(planeIP, strconv.Itoa(wire.PortDiscovery)), TokenPath: os.Getenv(envToken), ClusterID: wire.DefaultClusterID, Roots: roots}
	w := identity.New(identity.Options{Expected: id, TTL: ttl, Authority: identity.RemoteAuthority{ControlPlane: plane}, Roots: roots, Log: log})
	every := func(port int) string { return ":" + strconv.Itoa(port) }
	var servers, answers []netip.AddrPort
	if g.dns != "" {
		servers = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(g.dns), 53)}
		answers = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), wire.PortDNS), netip.AddrPortFrom(netip.MustParseAddr("::1"), wire.PortDNS)}
	}
	termination := engine.Termination{Alone: true}
	takeover := os.Getenv(wire.EnvTakeover)
	if takeover != "" {
		termination.Drain = 45 * time.Second // as by default
	}
	e := engine.New(engine.Options{
		Resolvers: servers, DNS: answers, Takeover: takeover,
		Node: g.node(), Identity: w, Dial: plane.Dial, Gateway: r.Gateway, Drains: r.Drains, Termination: termination,
		Addresses: engine.Addresses{Admin: "127.0.0.1" + every(wire.PortAdmin), Status: every(wire.PortStatus), Ready: every(wire.PortReady), Prometheus: every(wire.PortProxyPrometheus)},
		AccessLog: os.Stderr, Log: log, Level: level, Quit: stop,
	})
	return lifecycle.Run(ctx, r.Stack(e)...)
}

// obey collects the proxy's garbage on SIGUSR1, and writes what is left to a folder where there is one; on SIGUSR2 it tells what the goroutines do.
func obey(ctx context.Context, heaps string) {
	orders := make(chan os.Signal, 1)
	signal.Notify(orders, syscall.SIGUSR1, syscall.SIGUSR2)
	for {
		select {
		case <-ctx.Done():
			return
		case order := <-orders:
			if order == syscall.SIGUSR1 {
				debug.FreeOSMemory()
				if heaps != "" {
					writeHeap(filepath.Join(heaps, fmt.Sprintf("%s-%s.pprof", os.Getenv(wire.EnvPodName), time.Now().Format("150405"))))
				}
				continue
			}
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		}
	}
}

// writeHeap writes a profile of what is in memory.
func writeHeap(path string) {
	f, err := os.Create(path)
	if err == nil {
		defer f.Close()
		err = pprof.WriteHeapProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "writing a profile:", err)
	}
}
