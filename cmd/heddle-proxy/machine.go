package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/agent"
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
	s.kept, err = agent.New(filepath.Join(dir, wire.MachineKept))
	return s, err
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
