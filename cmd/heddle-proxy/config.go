package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/admin"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
)

// settings is everything that a serving proxy is told from outside.
type settings struct {
	node        discovery.Node
	identity    spiffe.Identity
	discovery   string // host:port
	ca          string // host:port
	ttl         time.Duration
	level       slog.Level
	native      bool
	completion  bool
	drain       time.Duration
	grace       time.Duration
	application admin.App
	tokenPath   string
	rootPath    string
}

// defaultAddress is where the control plane is.
func defaultAddress() string {
	return wire.DiscoveryService + "." + wire.SystemNamespace + ".svc:" + strconv.Itoa(wire.PortDiscovery)
}

// read reads the environment of a serving proxy.
func read(node string, env func(string) string) (settings, error) {
	or := func(name, absent string) string {
		if v := env(name); v != "" {
			return v
		}
		return absent
	}
	s := settings{
		node: discovery.Node{Type: node, Pod: env(wire.EnvPodName), Namespace: env(wire.EnvPodNamespace),
			ServiceAccount: or(wire.EnvServiceAccount, "default"), ClusterID: or(wire.EnvClusterID, wire.DefaultClusterID),
			ClusterDomain: or(wire.EnvClusterDomain, wire.DefaultClusterDomain), NodeName: env(wire.EnvNodeName), Version: version},
		discovery: or(wire.EnvDiscoveryAddress, defaultAddress()),
		native:    env(wire.EnvNativeSidecar) == "true", completion: env(wire.EnvAwaitCompletion) == "true",
		tokenPath: wire.TokenPath, rootPath: wire.RootPath,
	}
	s.ca = or(wire.EnvCAAddress, s.discovery)
	for _, ip := range strings.Split(env(wire.EnvInstanceIPs), ",") {
		if ip = strings.TrimSpace(ip); ip != "" {
			s.node.IPs = append(s.node.IPs, ip)
		}
	}
	if len(s.node.IPs) == 0 {
		return s, fmt.Errorf("reading the environment: %s is not set", wire.EnvInstanceIPs)
	}
	var err error
	if s.identity, err = spiffe.New(or(wire.EnvTrustDomain, wire.DefaultTrustDomain), s.node.Namespace, s.node.ServiceAccount); err != nil {
		return s, fmt.Errorf("reading the environment: %w", err)
	}
	for name, d := range map[string]struct {
		to     *time.Duration
		absent string
	}{wire.EnvCertTTL: {&s.ttl, "24h"}, wire.EnvDrainDuration: {&s.drain, "45s"}} {
		if *d.to, err = time.ParseDuration(or(name, d.absent)); err != nil || *d.to < 0 {
			return s, fmt.Errorf("reading the environment: %s: %q is no duration", name, env(name))
		}
	}
	if grace := env(wire.EnvTerminationGrace); grace != "" {
		seconds, err := strconv.ParseUint(grace, 10, 31)
		if err != nil {
			return s, fmt.Errorf("reading the environment: %s: %w", wire.EnvTerminationGrace, err)
		}
		s.grace = time.Duration(seconds) * time.Second
	}
	if err := s.level.UnmarshalText([]byte(or(wire.EnvLogLevel, "info"))); err != nil {
		return s, fmt.Errorf("reading the environment: %s: %w", wire.EnvLogLevel, err)
	}
	s.application.Address = s.node.IPs[0]
	return s, s.readApplication(env)
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
