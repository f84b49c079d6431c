package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/probe"
)

// files writes files of a machine.
func files(t *testing.T, all map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const clusterEnv = `# of group db
HEDDLE_WORKLOAD_GROUP='db'
POD_NAMESPACE="shop"
SERVICE_ACCOUNT=sql
HEDDLE_DISCOVERY_ADDRESS=192.0.2.1:15012
`

func TestMachine(t *testing.T) {
	nobody := func(string) string { return "" }
	dir := files(t, map[string]string{wire.FileEnvironment: clusterEnv})
	s, err := readMachine(dir, func(name string) string {
		return map[string]string{wire.EnvInstanceIPs: "fd00::1,10.0.0.1", wire.EnvLogLevel: "debug"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.node.Group != "db" || s.node.ID() != "sidecar~fd00::1~db-fd00--1.shop~shop.svc.cluster.local" || s.identity.String() != "spiffe://cluster.local/ns/shop/sa/sql" {
		t.Errorf("%+v", s.node)
	}
	if s.discovery != "192.0.2.1:15012" || s.tokenPath != filepath.Join(dir, "token") || s.rootPath != filepath.Join(dir, "root-cert.pem") || s.kept == nil || s.probe != nil || s.level != -4 {
		t.Errorf("%+v", s)
	}
	for why, all := range map[string]map[string]string{
		"no files":          {},
		"no group":          {wire.FileEnvironment: "POD_NAMESPACE=shop\n"},
		"no namespace":      {wire.FileEnvironment: "HEDDLE_WORKLOAD_GROUP=db\nINSTANCE_IPS=10.0.0.1\n"},
		"no assignment":     {wire.FileEnvironment: clusterEnv + "export\n"},
		"a command":         {wire.FileEnvironment: clusterEnv + "export A=b\n"},
		"another field":     {wire.FileEnvironment: clusterEnv, wire.FileMachine: "defaultConfig: {concurrency: 2}"},
		"a probe of nobody": {wire.FileEnvironment: clusterEnv, wire.FileMachine: "defaultConfig: {readinessProbe: {periodSeconds: 1}}"},
		"two probes":        {wire.FileEnvironment: clusterEnv, wire.FileMachine: "defaultConfig: {readinessProbe: {tcpSocket: {port: 1}, exec: {command: [a]}}}"},
		"no command":        {wire.FileEnvironment: clusterEnv, wire.FileMachine: "defaultConfig: {readinessProbe: {exec: {}}}"},
	} {
		if _, err := readMachine(files(t, all), func(name string) string {
			if name == wire.EnvInstanceIPs && why != "no namespace" {
				return "10.0.0.1"
			}
			return nobody(name)
		}); err == nil {
			t.Errorf("%s: taken", why)
		}
	}
}

// TestAMachineFindsItsAddress holds that it is the one that it reaches the control plane from.
func TestAMachineFindsItsAddress(t *testing.T) {
	dir := files(t, map[string]string{wire.FileEnvironment: strings.Replace(clusterEnv, "192.0.2.1", "127.0.0.1", 1)})
	s, err := readMachine(dir, func(string) string { return "" })
	if err != nil || len(s.node.IPs) != 1 || s.node.IPs[0] != "127.0.0.1" {
		t.Errorf("%v, %v", s.node.IPs, err)
	}
}

func TestMachinesProbe(t *testing.T) {
	second := time.Second
	for text, want := range map[string]*probe.Probe{
		"{}": nil,
		"defaultConfig: {readinessProbe: {httpGet: {path: /a, host: b, port: 80, scheme: HTTPS, httpHeaders: [{name: c, value: d}]}}}": {Period: 10 * second, Timeout: second, Success: 1, Failure: 3,
			Network: &wire.AppProbe{HTTPGet: &wire.AppHTTPProbe{Path: "/a", Host: "b", Port: 80, Scheme: "HTTPS", Headers: []wire.AppHeader{{Name: "c", Value: "d"}}}}},
		"defaultConfig: {readinessProbe: {initialDelaySeconds: 5, timeoutSeconds: 3, periodSeconds: 4, successThreshold: 3, failureThreshold: 2, exec: {command: [a, b]}}}": {
			Delay: 5 * second, Period: 4 * second, Timeout: 3 * second, Success: 3, Failure: 2, Command: []string{"a", "b"}},
		"defaultConfig: {readinessProbe: {grpc: {port: 1, service: s}}}": {Period: 10 * second, Timeout: second, Success: 1, Failure: 3,
			Network: &wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: 1, Service: "s"}}},
	} {
		got, err := readProbe(filepath.Join(files(t, map[string]string{wire.FileMachine: text}), wire.FileMachine))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}
