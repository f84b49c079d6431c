package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/dns"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/sidecar/probe"
	"github.com/heddle-mesh/heddle/sidecar/role"
)

// inPod serves in a pod, as the environment says.
func inPod(ctx context.Context, node string, env func(string) string) error {
	s, err := read(node, env)
	if err != nil {
		return err
	}
	return serve(ctx, s)
}

// serve runs a proxy of a role until the process is told to end.
func serve(ctx context.Context, s settings) error {
	r, known := role.ByNode(s.node.Type)
	if !known {
		return fmt.Errorf("%q is no role", s.node.Type)
	}
	unread := s.memory.Set()
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	level := &slog.LevelVar{}
	level.Set(s.level)
	log := logger(level)
	log.Info("starting", "version", version, "role", s.node.Type, "identity", s.identity.String(), "control_plane", s.discovery)
	if unread != nil {
		log.Warn("memory has no limit", "error", unread)
	}
	workload, ca, plane := s.proofs(log)
	ended := func(ctx context.Context) bool { return awaitEnd(ctx, ca, log) }
	termination := engine.Termination{Alone: s.native, Drain: s.drain, Grace: s.grace, Restart: s.restart}
	if !s.native && !r.Gateway {
		termination.Ended = ended
	}
	conf, answers, err := s.dns()
	if err != nil {
		return err
	}
	e := engine.New(engine.Options{
		Resolvers: conf.servers, Search: conf.domain, DNS: answers,
		Node: s.node, Identity: workload, Dial: plane.Dial, Gateway: r.Gateway, Drains: r.Drains,
		Termination: termination,
		App:         s.application, Addresses: addresses(), Takeover: s.takeover, Foreign: s.foreign, Environment: s.environment, AccessLog: os.Stdout, Log: log, Level: level, Quit: quit,
	})
	components := r.Stack(e)
	if s.completion {
		components = append(components, completion(ended, func() { e.ApplicationEnded(); quit() }))
	}
	if s.probe != nil {
		components = append(components, probing(*s.probe, s.application.Address, e.Health))
	}
	if err := lifecycle.Run(ctx, components...); err != nil {
		return err
	}
	log.Info("ended")
	return nil
}

// proofs are who the proxy is, and how it proves that to the CA and to pilot.
func (s settings) proofs(log *slog.Logger) (w *identity.Workload, ca, plane identity.ControlPlane) {
	roots := identity.NewRoots(s.rootPath)
	ca = identity.ControlPlane{Address: s.ca, TokenPath: s.tokenPath, ClusterID: s.node.ClusterID, Roots: roots}
	o := identity.Options{Expected: s.identity, TTL: s.ttl, Roots: roots, Log: log.With("part", "identity")}
	if s.kept != nil {
		ca.Machine, ca.Certificate = true, func() *tls.Certificate { return w.Certificate() }
		o.Kept, o.Export = s.kept.Read, s.kept.Write
	}
	o.Authority = identity.RemoteAuthority{ControlPlane: ca}
	w = identity.New(o)
	plane = ca
	plane.Address, plane.Certificate = s.discovery, w.Certificate
	return w, ca, plane
}

// dns returns how the pod looks names up, and where to answer in its servers' stead.
func (s settings) dns() (conf resolvers, answers []netip.AddrPort, err error) {
	conf, err = readResolvers(s.resolvConf)
	if err != nil || !s.answers {
		return conf, nil, err
	}
	for _, local := range []string{"127.0.0.1", "::1"} {
		answers = append(answers, netip.AddrPortFrom(netip.MustParseAddr(local), wire.PortDNS))
	}
	return conf, answers, nil
}

// resolvers is what a resolv.conf says.
type resolvers struct {
	servers []netip.AddrPort
	domain  string // the first of the search path
}

// readResolvers reads a resolv.conf; one that is not there names nobody.
func readResolvers(path string) (resolvers, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return resolvers{}, fmt.Errorf("reading the pod's DNS servers: %w", err)
	}
	return resolvers{dns.Servers(string(text)), dns.Search(string(text))}, nil
}

func addresses() engine.Addresses {
	every := func(port int) string { return ":" + strconv.Itoa(port) }
	return engine.Addresses{Admin: "127.0.0.1" + every(wire.PortAdmin), Status: every(wire.PortStatus), Ready: every(wire.PortReady),
		Prometheus: every(wire.PortProxyPrometheus)}
}

// probing asks a machine's application whether it is healthy, and has the control plane told.
func probing(p probe.Probe, address string, tell func(reason string)) lifecycle.Component {
	return lifecycle.Component{Name: "probe", Run: func(ctx context.Context) error {
		return p.Run(ctx, func(ctx context.Context) error { return p.Ask(ctx, address) }, tell)
	}}
}

// askAgain is how long to wait before the control plane is asked anew whether the application has ended.
const askAgain = 5 * time.Second

// completion ends the proxy once the application has ended, in pods that are meant to.
func completion(ended func(context.Context) bool, quit func()) lifecycle.Component {
	return lifecycle.Component{Name: "completion", Run: func(ctx context.Context) error {
		if ended(ctx) {
			quit()
			<-ctx.Done()
		}
		return nil
	}}
}

// awaitEnd returns true once the control plane says that the application has ended, false when ctx ends first.
func awaitEnd(ctx context.Context, ca identity.ControlPlane, log *slog.Logger) bool {
	for ctx.Err() == nil {
		err := ca.AwaitCompletion(ctx)
		if err == nil {
			log.Info("the application has ended")
			return true
		}
		log.Debug("asking again whether the application has ended", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(askAgain):
		}
	}
	return false
}

// call asks the proxy in this pod; anything but 200 is an error.
func call(ctx context.Context, method string, port int, path string) error {
	url := "http://127.0.0.1:" + strconv.Itoa(port) + path
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("asking %s: status %d: %s", url, response.StatusCode, text)
	}
	return nil
}
