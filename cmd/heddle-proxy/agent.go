package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/agent"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// agentSettings is everything that an agent is told from outside.
type agentSettings struct {
	process
	out                 string
	tokenPath, rootPath string
}

// readAgent reads an agent's flags and the environment.
func readAgent(args []string, env func(string) string) (agentSettings, error) {
	s := agentSettings{}
	flags := flag.NewFlagSet(wire.CommandAgent, flag.ContinueOnError)
	flags.StringVar(&s.out, "out", wire.AgentPath, "folder for "+wire.FileChain+", "+wire.FileKey+" and "+wire.FileRoots)
	flags.StringVar(&s.tokenPath, "token", wire.TokenPath, "file with the token that proves the workload to the CA")
	flags.StringVar(&s.rootPath, "roots", wire.RootPath, "file with the mesh's trust anchors, PEM")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return s, fmt.Errorf("reading flags: %w", err)
	}
	s.process, err = readProcess(env)
	return s, err
}

// keep has a certificate in files until the process is told to end.
func keep(ctx context.Context, args []string, env func(string) string) error {
	s, err := readAgent(args, env)
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	level.Set(s.level)
	log := logger(level)
	folder, err := agent.New(s.out)
	if err != nil {
		return err
	}
	log.Info("starting", "version", version, "identity", s.identity.String(), "ca", s.ca, "out", s.out)
	roots := identity.NewRoots(s.rootPath)
	ca := identity.ControlPlane{Address: s.ca, TokenPath: s.tokenPath, ClusterID: s.clusterID, Roots: roots}
	return identity.New(identity.Options{Expected: s.identity, TTL: s.ttl, Authority: identity.RemoteAuthority{ControlPlane: ca}, Roots: roots,
		Log: log.With("part", "identity"), Export: folder.Write}).Run(ctx)
}
