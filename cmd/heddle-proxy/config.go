package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/memory"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/admin"
	"github.com/heddle-mesh/heddle/sidecar/agent"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/probe"
)

// resolvConf is where the kubelet writes the pod's DNS servers.
const resolvConf = "/etc/resolv.conf"

// process is what both a proxy and an agent are told by the environment.
type process struct {
	identity  spiffe.Identity
	clusterID string
	discovery string // host:port
	ca        string // host:port
	ttl       time.Duration
	level     slog.Level
}

// settings is everything that a serving proxy is told from outside.
type settings struct {
	process
	node        discovery.Node
	native      bool
	completion  bool
	drain       time.Duration
	restart     time.Duration // 0: as long as drain
	grace       time.Duration
	application admin.App
	tokenPath   string
	rootPath    string
	resolvConf  string // path
	foreign     bool   // the control plane is not Heddle's
	answers     bool   // the pod's DNS questions come here
	memory      memory.Limit
	environment func(name string) string
	takeover    string // path of the socket by which the next process takes over; "": none
	// kept is where a machine's certificate and key are kept from one process to the next. Nil: in pods.
	kept *agent.Folder
	// probe is how a machine's application is asked whether it is healthy. Nil: it is not, or by the kubelet.
	probe *probe.Probe
}

// defaultAddress is where the control plane is.
func defaultAddress() string {
	return wire.DiscoveryService + "." + wire.SystemNamespace + ".svc:" + strconv.Itoa(wire.PortDiscovery)
}

// either returns the value of a name in the environment, or what stands for its absence.
func either(env func(string) string, name, absent string) string {
	if v := env(name); v != "" {
		return v
	}
	return absent
}

// readProcess reads what both a proxy and an agent are told.
func readProcess(env func(string) string) (process, error) {
	p := process{clusterID: either(env, wire.EnvClusterID, wire.DefaultClusterID), discovery: either(env, wire.EnvDiscoveryAddress, defaultAddress())}
	p.ca = either(env, wire.EnvCAAddress, p.discovery)
	var err error
	p.identity, err = spiffe.New(either(env, wire.EnvTrustDomain, wire.DefaultTrustDomain), env(wire.EnvPodNamespace), either(env, wire.EnvServiceAccount, "default"))
	if err != nil {
		return p, fmt.Errorf("reading the environment: %w", err)
	}
	if p.ttl, err = readDuration(env, wire.EnvCertTTL, "24h"); err != nil {
		return p, err
	}
	if err := p.level.UnmarshalText([]byte(either(env, wire.EnvLogLevel, "info"))); err != nil {
		return p, fmt.Errorf("reading the environment: %s: %w", wire.EnvLogLevel, err)
	}
	return p, nil
}

func readDuration(env func(string) string, name, absent string) (time.Duration, error) {
	d, err := time.ParseDuration(either(env, name, absent))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("reading the environment: %s: %q is no duration", name, env(name))
	}
	return d, nil
}

// read reads the environment of a serving proxy.
func read(node string, env func(string) string) (settings, error) {
	p, err := readProcess(env)
	if err != nil {
		return settings{}, err
	}
	s := settings{
		process: p,
		node: discovery.Node{Type: node, Pod: env(wire.EnvPodName), Workload: env(wire.EnvWorkloadName), Namespace: p.identity.Namespace, ServiceAccount: p.identity.ServiceAccount,
			ClusterID: p.clusterID, ClusterDomain: either(env, wire.EnvClusterDomain, wire.DefaultClusterDomain), NodeName: env(wire.EnvNodeName), Version: version},
		native: env(wire.EnvNativeSidecar) == "true", completion: env(wire.EnvAwaitCompletion) == "true",
		tokenPath: wire.TokenPath, rootPath: wire.RootPath, resolvConf: resolvConf, takeover: env(wire.EnvTakeover), foreign: env(wire.EnvForeignPlane) == "true", environment: env,
	}
	if s.node.Dialect, err = readDialect(env); err != nil {
		return s, err
	}
	s.answers = node == wire.NodeSidecar && env(wire.EnvDNSCapture) == "true"
	s.node.Names, s.node.TheirNames = s.answers, s.foreign // another control plane ends the stream that asks for types of ours
	if s.node.OnDemand = node == wire.NodeSidecar && env(wire.EnvOnDemand) == "true"; s.node.OnDemand && s.foreign {
		return s, fmt.Errorf("reading the environment: %s: with %s, nobody tells of hosts on demand", wire.EnvOnDemand, wire.EnvForeignPlane)
	}
	s.node.Allocated = s.node.Names && env(wire.EnvDNSAutoAllocate) != "false"
	for _, ip := range strings.Split(env(wire.EnvInstanceIPs), ",") {
		if ip = strings.TrimSpace(ip); ip != "" {
			s.node.IPs = append(s.node.IPs, ip)
		}
	}
	if len(s.node.IPs) == 0 {
		return s, fmt.Errorf("reading the environment: %s is not set", wire.EnvInstanceIPs)
	}
	if s.drain, err = readDuration(env, wire.EnvDrainDuration, "45s"); err != nil {
		return s, err
	}
	if env(wire.EnvRestartDrain) != "" {
		if s.restart, err = readDuration(env, wire.EnvRestartDrain, ""); err != nil {
			return s, err
		}
	}
	if grace := env(wire.EnvTerminationGrace); grace != "" {
		seconds, err := strconv.ParseUint(grace, 10, 31)
		if err != nil {
			return s, fmt.Errorf("reading the environment: %s: %w", wire.EnvTerminationGrace, err)
		}
		s.grace = time.Duration(seconds) * time.Second
	}
	if s.memory, err = memory.Read(env); err != nil {
		return s, err
	}
	s.application.Address = s.node.IPs[0]
	return s, s.readApplication(env)
}

// readDialect reads which dialect the proxy announces: 0 where nothing is said, this build's or an older one otherwise.
func readDialect(env func(string) string) (int, error) {
	text := env(wire.EnvDialect)
	if text == "" {
		return 0, nil
	}
	dialect, err := strconv.Atoi(text)
	if err != nil || dialect < wire.OldestDialect || dialect > wire.Dialect {
		return 0, fmt.Errorf("reading the environment: %s: %q is none of %d to %d", wire.EnvDialect, text, wire.OldestDialect, wire.Dialect)
	}
	return dialect, nil
}

// readApplication reads what the proxy answers for on behalf of the application.
func (s *settings) readApplication(env func(string) string) error {
	for name, to := range map[string]any{wire.EnvAppProbes: &s.application.Probes, wire.EnvAppPrometheus: &s.application.Prometheus} {
		text := env(name)
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), to); err != nil {
			return fmt.Errorf("reading the environment: %s: %w", name, err)
		}
	}
	for path := range s.application.Probes {
		if !strings.HasPrefix(path, wire.PathAppHealth) && !strings.HasPrefix(path, wire.PathAppLifecycle) || strings.ContainsAny(path, " {}") {
			return fmt.Errorf("reading the environment: %s: %q is no path of a probe", wire.EnvAppProbes, path)
		}
	}
	return nil
}
