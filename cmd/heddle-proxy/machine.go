package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/agent"
	"github.com/heddle-mesh/heddle/sidecar/probe"
)

// machine serves beside an application on a machine outside of the cluster, as the files of a folder say.
func machine(ctx context.Context, args []string, env func(string) string) error {
	dir, err := machineFolder(args)
	if err != nil {
		return err
	}
	s, err := readMachine(dir, env)
	if err != nil {
		return err
	}
	return serve(ctx, s)
}

func machineFolder(args []string) (string, error) {
	flags := flag.NewFlagSet(wire.CommandMachine, flag.ContinueOnError)
	dir := flags.String("dir", wire.MachinePath, "folder with "+strings.Join([]string{wire.FileEnvironment, wire.FileMachine, wire.FileRoots, wire.FileToken}, ", ")+", as meshctl writes them")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return "", fmt.Errorf("reading flags: %w", err)
	}
	return *dir, nil
}

// readMachine reads the settings of a machine's sidecar.
func readMachine(dir string, env func(string) string) (settings, error) {
	said, err := readEnvironment(filepath.Join(dir, wire.FileEnvironment))
	if err != nil {
		return settings{}, err
	}
	merged := func(name string) string { return either(env, name, said[name]) }
	group := merged(wire.EnvWorkloadGroup)
	if group == "" {
		return settings{}, fmt.Errorf("reading %s: %s is not set", wire.FileEnvironment, wire.EnvWorkloadGroup)
	}
	if merged(wire.EnvInstanceIPs) == "" {
		address, err := ownAddress(either(merged, wire.EnvDiscoveryAddress, defaultAddress()))
		if err != nil {
			return settings{}, err
		}
		said[wire.EnvInstanceIPs] = address
	}
	s, err := read(wire.NodeSidecar, merged)
	if err != nil {
		return s, err
	}
	s.node.Group, s.node.Pod = group, group+"-"+strings.ReplaceAll(s.node.IPs[0], ":", "-")
	s.tokenPath, s.rootPath = filepath.Join(dir, wire.FileToken), filepath.Join(dir, wire.FileRoots)
	s.native = true // nobody ends the application with the proxy
	if s.probe, err = readProbe(filepath.Join(dir, wire.FileMachine)); err != nil {
		return s, err
	}
	s.takeover = either(merged, wire.EnvTakeover, filepath.Join(dir, wire.MachineKept, wire.MachineTakeover))
	s.kept, err = agent.New(filepath.Join(dir, wire.MachineKept))
	return s, err
}

// meshFile is what is read of mesh.yaml: Istio's MeshConfig, as far as it is a machine's.
type meshFile struct {
	DefaultConfig struct {
		ReadinessProbe *readinessProbe `json:"readinessProbe"`
	} `json:"defaultConfig"`
}

// readinessProbe is Istio's ReadinessProbe.
type readinessProbe struct {
	InitialDelaySeconds uint16 `json:"initialDelaySeconds"`
	TimeoutSeconds      uint16 `json:"timeoutSeconds"`
	PeriodSeconds       uint16 `json:"periodSeconds"`
	SuccessThreshold    uint16 `json:"successThreshold"`
	FailureThreshold    uint16 `json:"failureThreshold"`
	HTTPGet             *struct {
		Host    string           `json:"host"`
		Port    int32            `json:"port"`
		Scheme  string           `json:"scheme"`
		Path    string           `json:"path"`
		Headers []wire.AppHeader `json:"httpHeaders"`
	} `json:"httpGet"`
	TCPSocket *wire.AppTCPProbe  `json:"tcpSocket"`
	GRPC      *wire.AppGRPCProbe `json:"grpc"`
	Exec      *struct {
		Command []string `json:"command"`
	} `json:"exec"`
}

// readProbe reads how the application is asked; nil: there is no file, or it says nothing. A field that is not known is an error.
func readProbe(path string) (*probe.Probe, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var file meshFile
	if err == nil {
		err = yaml.UnmarshalStrict(data, &file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the machine's settings: %w", err)
	}
	r := file.DefaultConfig.ReadinessProbe
	if r == nil {
		return nil, nil
	}
	seconds := func(n uint16) time.Duration { return time.Duration(n) * time.Second }
	p := probe.Probe{Delay: seconds(r.InitialDelaySeconds), Timeout: seconds(r.TimeoutSeconds), Period: seconds(r.PeriodSeconds), Success: int(r.SuccessThreshold),
		Failure: int(r.FailureThreshold), Network: &wire.AppProbe{TCPSocket: r.TCPSocket, GRPC: r.GRPC}}.Defaults()
	kinds := 0
	if get := r.HTTPGet; get != nil {
		kinds++
		p.Network.HTTPGet = &wire.AppHTTPProbe{Host: get.Host, Port: get.Port, Scheme: get.Scheme, Path: get.Path, Headers: get.Headers}
	}
	for _, there := range []bool{r.TCPSocket != nil, r.GRPC != nil, r.Exec != nil} {
		if there {
			kinds++
		}
	}
	if r.Exec != nil {
		p.Network, p.Command = nil, r.Exec.Command
	}
	if kinds != 1 || r.Exec != nil && len(p.Command) == 0 {
		return nil, fmt.Errorf("reading the machine's settings: %s: a readinessProbe is one of httpGet, tcpSocket, grpc and exec", path)
	}
	return &p, nil
}

// readEnvironment reads lines NAME=value; a value may be in quotes of either kind, and # begins a comment.
func readEnvironment(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the machine's settings: %w", err)
	}
	out := map[string]string{}
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.ContainsAny(name, " \t'\"") {
			return nil, fmt.Errorf("reading the machine's settings: %s: line %d is not NAME=value", path, i+1)
		}
		if n := len(value); n > 1 && value[0] == value[n-1] && (value[0] == '\'' || value[0] == '"') {
			value = value[1 : n-1]
		}
		out[name] = value
	}
	return out, nil
}

// ownAddress is the address that the machine reaches the control plane from. Nothing is sent to find it out.
func ownAddress(plane string) (string, error) {
	conn, err := net.Dial("udp", plane)
	if err != nil {
		return "", fmt.Errorf("finding out this machine's address (%s says it otherwise): %w", wire.EnvInstanceIPs, err)
	}
	defer conn.Close()
	address, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return "", fmt.Errorf("finding out this machine's address: %w", err)
	}
	return address.Addr().Unmap().WithZone("").String(), nil
}
