package main

import (
	"context"
	"debug/buildinfo"
	"os"
	"path/filepath"
)

// istioNamespace is where istiod keeps what is its own.
const istioNamespace = "istio-system"

// startIstiod starts the peer, a stock pilot-discovery, and waits until it is ready to serve proxies. It is asked without TLS, since it believes its own certificates only:
// that favours it by what encrypting costs.
func (b *bench) startIstiod(ctx context.Context, at site) (*plane, error) {
	on, release, err := addresses(6)
	if err != nil {
		return nil, err
	}
	p := &plane{discovery: on[0], web: on[1], insecure: true, release: release}
	env := []string{"POD_NAME=istiod-0", "POD_NAMESPACE=" + istioNamespace, "CLUSTER_ID=Kubernetes", "ENABLE_LEADER_ELECTION=false",
		"INJECTION_WEBHOOK_CONFIG_NAME=", "VALIDATION_WEBHOOK_CONFIG_NAME="} // nobody is injected or judged here
	host, port := split(on[5])
	p.process, err = spawn(at.dir, "istiod", env, b.binaries.istiod, "discovery", "--kubeconfig="+at.kubeconfig, "--grpcAddr="+on[0], "--httpAddr="+on[1],
		"--monitoringAddr="+on[2], "--httpsAddr="+on[3], "--secureGRPCAddr="+on[4], "--ctrlz_address="+host, "--ctrlz_port="+port, "--log_output_level=all:warn")
	if err != nil {
		release()
		return nil, err
	}
	return p.ready(ctx, b.patience, "http://"+on[1]+"/ready")
}

// istiodVersion is what the peer is, for people.
func (b *bench) istiodVersion() string {
	info, err := buildinfo.ReadFile(b.binaries.istiod)
	if err != nil {
		return filepath.Base(b.binaries.istiod)
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == "istio.io/istio" {
			return m.Version
		}
	}
	return filepath.Base(b.binaries.istiod)
}

// streamLimit is how many streams the peer begins in a second, for people.
func streamLimit() string {
	if given := os.Getenv("PILOT_MAX_REQUESTS_PER_SECOND"); given != "" {
		return "a limit of " + given + " a second"
	}
	return "its own limit (15 a second, and 5 for each core)"
}
