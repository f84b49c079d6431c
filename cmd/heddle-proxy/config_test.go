package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/memory"
)

// environment is a pod's, as the injector sets it, with changes.
func environment(changes map[string]string) func(string) string {
	env := map[string]string{
		wire.EnvPodName: "web-1", wire.EnvPodNamespace: "shop", wire.EnvServiceAccount: "web", wire.EnvInstanceIPs: "10.0.0.1,fd00::1",
		wire.EnvNativeSidecar: "true", wire.EnvTerminationGrace: "30",
	}
	for k, v := range changes {
		env[k] = v
	}
	return func(name string) string { return env[name] }
}

func TestDefaults(t *testing.T) {
	s, err := read(wire.NodeSidecar, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.discovery != "heddled.heddle-system.svc:15012" || s.ca != s.discovery || s.identity.String() != "spiffe://cluster.local/ns/shop/sa/web" {
		t.Errorf("%+v", s)
	}
	if s.ttl != 24*time.Hour || s.drain != 45*time.Second || s.grace != 30*time.Second || !s.native || s.completion {
		t.Errorf("%+v", s)
	}
	if got := s.node.ID(); got != "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local" {
		t.Errorf("node %s", got)
	}
}

// TestMemory: the container's limit is a proxy's, and without one its control group's.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		container, own string
		want           memory.Limit
	}{{"", "", memory.Limit{Group: true}}, {"536870912", "", memory.Limit{Bytes: 483183810}}, {"1000", "500MiB", memory.Limit{}}} {
		s, err := read(wire.NodeRouter, environment(map[string]string{wire.EnvMemoryLimit: c.container, "GOMEMLIMIT": c.own}))
		if err != nil || s.memory != c.want {
			t.Errorf("%+v: %+v, %v", c, s.memory, err)
		}
	}
}

// TestOnDemand holds that a sidecar asks for what it uses where it is told to, and a gateway never.
func TestOnDemand(t *testing.T) {
	for _, c := range []struct {
		node, value string
		want        bool
	}{{wire.NodeSidecar, "", false}, {wire.NodeSidecar, "true", true}, {wire.NodeSidecar, "false", false}, {wire.NodeRouter, "true", false}} {
		if s, err := read(c.node, environment(map[string]string{wire.EnvOnDemand: c.value})); err != nil || s.node.OnDemand != c.want {
			t.Errorf("%s with %q: %t, %v", c.node, c.value, s.node.OnDemand, err)
		}
	}
}

// TestOnDemandNeedsOurs holds that no other control plane is asked for hosts: it would end the stream.
func TestOnDemandNeedsOurs(t *testing.T) {
	if _, err := read(wire.NodeSidecar, environment(map[string]string{wire.EnvOnDemand: "true", wire.EnvForeignPlane: "true"})); err == nil || !strings.Contains(err.Error(), wire.EnvOnDemand) {
		t.Errorf("taken: %v", err)
	}
}

// TestDialect holds that a proxy may announce an older dialect than its own, and none that it does not know.
func TestDialect(t *testing.T) {
	for text, want := range map[string]int{"": 0, "1": 1, strconv.Itoa(wire.Dialect): wire.Dialect, "0": -1, strconv.Itoa(wire.Dialect + 1): -1, "new": -1} {
		s, err := read(wire.NodeSidecar, environment(map[string]string{wire.EnvDialect: text}))
		if (err != nil) != (want < 0) || err == nil && s.node.Dialect != want {
			t.Errorf("%q: %d, %v", text, s.node.Dialect, err)
		}
	}
}

func TestDNS(t *testing.T) {
	for _, c := range []struct {
		node             string
		env              map[string]string
		answers          bool
		names, allocated bool
	}{
		{wire.NodeSidecar, nil, false, false, false},
		{wire.NodeSidecar, map[string]string{wire.EnvDNSCapture: "true"}, true, true, true},
		{wire.NodeSidecar, map[string]string{wire.EnvDNSCapture: "true", wire.EnvDNSAutoAllocate: "false"}, true, true, false},
		{wire.NodeSidecar, map[string]string{wire.EnvDNSCapture: "true", wire.EnvForeignPlane: "true"}, true, true, true},
		{wire.NodeRouter, map[string]string{wire.EnvDNSCapture: "true"}, false, false, false},
	} {
		s, err := read(c.node, environment(c.env))
		if err != nil || s.node.Names != c.names || s.node.TheirNames != (c.env[wire.EnvForeignPlane] == "true") || s.node.Allocated != c.allocated {
			t.Errorf("%s with %v: %+v, %v", c.node, c.env, s.node, err)
		}
		s.resolvConf = filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(s.resolvConf, []byte("nameserver 10.96.0.10\nnameserver fd00::a\nsearch shop.svc svc\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		conf, answers, err := s.dns()
		if err != nil || joined(conf.servers) != "10.96.0.10,fd00::a" || conf.domain != "shop.svc" || (len(answers) == 2) != c.answers {
			t.Errorf("%s with %v: %v, answers at %v, %v", c.node, c.env, conf, answers, err)
		}
	}
	if conf, err := readResolvers(filepath.Join(t.TempDir(), "none")); err != nil || joined(conf.servers) != "127.0.0.1" || conf.domain != "" {
		t.Errorf("without a file: %v, %v", conf, err)
	}
}

func TestEverythingIsRead(t *testing.T) {
	s, err := read(wire.NodeRouter, environment(map[string]string{
		wire.EnvDiscoveryAddress: "plane:1", wire.EnvCAAddress: "ca:2", wire.EnvTrustDomain: "example.org", wire.EnvCertTTL: "10s",
		wire.EnvDrainDuration: "1s", wire.EnvLogLevel: "debug", wire.EnvNativeSidecar: "false", wire.EnvAwaitCompletion: "true",
		wire.EnvAppProbes:     `{"/app-health/app/livez": {"tcpSocket": {"port": 80}, "timeoutSeconds": 2}}`,
		wire.EnvAppPrometheus: `{"port": 9100, "path": "/metrics"}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if s.discovery != "plane:1" || s.ca != "ca:2" || s.identity.TrustDomain != "example.org" || s.ttl != 10*time.Second || s.native || !s.completion {
		t.Errorf("%+v", s)
	}
	if p := s.application.Probes["/app-health/app/livez"]; p.TCPSocket == nil || p.TCPSocket.Port != 80 || p.TimeoutSeconds != 2 {
		t.Errorf("probes %+v", s.application.Probes)
	}
	if m := s.application.Prometheus; m == nil || m.Port != 9100 || m.Path != "/metrics" {
		t.Errorf("metrics %+v", m)
	}
}

func TestWhatIsRefused(t *testing.T) {
	for name, change := range map[string]map[string]string{
		"no address":        {wire.EnvInstanceIPs: ""},
		"no namespace":      {wire.EnvPodNamespace: ""},
		"odd trust domain":  {wire.EnvTrustDomain: "a/b"},
		"odd duration":      {wire.EnvCertTTL: "a day"},
		"negative duration": {wire.EnvDrainDuration: "-1s"},
		"odd level":         {wire.EnvLogLevel: "loud"},
		"odd grace":         {wire.EnvTerminationGrace: "soon"},
		"odd memory":        {wire.EnvMemoryLimit: "512Mi"},
		"odd probes":        {wire.EnvAppProbes: "{"},
		"a probe elsewhere": {wire.EnvAppProbes: `{"/config_dump": {}}`},
		"odd metrics":       {wire.EnvAppPrometheus: "[]"},
	} {
		if _, err := read(wire.NodeSidecar, environment(change)); err == nil || !strings.HasPrefix(err.Error(), "reading the environment") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The kubelet gives a proxy as long to become ready.
func TestWaitIsAsPatientAsTheStartupProbe(t *testing.T) {
	for args, want := range map[string]time.Duration{"": wire.StartupSeconds * time.Second, "--timeout=3s": 3 * time.Second} {
		if got, err := patience(strings.Fields(args)); err != nil || got != want {
			t.Errorf("wait %s: %s (%v), want %s", args, got, err, want)
		}
	}
}

func TestCommands(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"version"}, environment(nil), &out); err != nil || strings.TrimSpace(out.String()) != version {
		t.Errorf("version: %v %q", err, out.String())
	}
	out.Reset()
	if err := run(t.Context(), nil, environment(nil), &out); err != nil || !strings.Contains(out.String(), "heddle-proxy sidecar") {
		t.Errorf("help: %v %q", err, out.String())
	}
	for _, args := range [][]string{{"serve"}, {"redirect", "--inbound-ports=x"}, {"wait", "--timeout=-"}} {
		if err := run(t.Context(), args, environment(nil), &out); err == nil {
			t.Errorf("%v was done", args)
		}
	}
}
