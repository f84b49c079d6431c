// Command proxy is heddle-proxy's engine for measurements: its control plane and its CA are at unix sockets, and it has none of the ports by
// which a pod asks its own proxy, so that several run on one machine. It is built by tests/bench and is of no other use.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/sidecar/role"
)

type settings struct {
	node, pod, namespace, ip string
	discovery, signer, roots string
	profile                  string
	demand                   bool
}

func main() {
	var s settings
	flag.StringVar(&s.node, "node", wire.NodeRouter, "node type")
	flag.StringVar(&s.pod, "pod", "", "the pod's name, and its account's")
	flag.StringVar(&s.namespace, "namespace", "", "the pod's namespace")
	flag.StringVar(&s.ip, "ip", "127.0.0.1", "the pod's address")
	flag.StringVar(&s.discovery, "discovery", "", "unix socket of ADS")
	flag.StringVar(&s.signer, "signer", "", "unix socket that signs certificate requests")
	flag.StringVar(&s.roots, "roots", "", "file with the trust anchors")
	flag.BoolVar(&s.demand, "on-demand", false, "ask for hosts and clusters when they are first used")
	flag.StringVar(&s.profile, "profile", "", "write a CPU profile to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := profiled(s.profile, func() error { return run(ctx, stop, s) }); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, quit func(), s settings) error {
	r, known := role.ByNode(s.node)
	if !known {
		return fmt.Errorf("%q is no role", s.node)
	}
	id, err := spiffe.New(wire.DefaultTrustDomain, s.namespace, s.pod)
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	level.Set(slog.LevelWarn)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	w := identity.New(identity.Options{Expected: id, TTL: time.Hour, Authority: remote{s.signer, s.pod}, Roots: identity.NewRoots(s.roots), Log: log})
	e := engine.New(engine.Options{
		Node: discovery.Node{Type: s.node, IPs: []string{s.ip}, Pod: s.pod, Namespace: s.namespace, ServiceAccount: s.pod,
			ClusterID: wire.DefaultClusterID, ClusterDomain: wire.DefaultClusterDomain, OnDemand: s.demand},
		Identity: w, Gateway: r.Gateway, Drains: r.Drains, Termination: engine.Termination{Alone: true, Drain: time.Millisecond},
		Dial: func() (*grpc.ClientConn, error) {
			return grpc.NewClient("unix:"+s.discovery, grpc.WithTransportCredentials(insecure.NewCredentials()))
		},
		AccessLog: os.Stdout, Log: log, Level: level, Quit: quit,
	})
	return lifecycle.Run(ctx, e.AccessLogs(), e.Identity(), e.Upstreams(), e.Discovery(), e.Listeners())
}

// remote is an authority at a socket.
type remote struct{ socket, account string }

// Sign implements identity.Authority.
func (r remote) Sign(ctx context.Context, csr []byte, _ time.Duration) (identity.Answer, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://signer/"+r.account, bytes.NewReader(csr))
	if err != nil {
		return identity.Answer{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return identity.Answer{}, fmt.Errorf("asking for a certificate: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("no certificate: %s", text)
	}
	return identity.Answer{Chain: []string{string(text)}}, err
}

// profiled runs f under the CPU profiler, if a file is named.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := pprof.StartCPUProfile(out); err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	defer pprof.StopCPUProfile()
	return f()
}
