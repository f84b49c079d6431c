package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"os"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/completion"
	"github.com/heddle-mesh/heddle/injector/webhook"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/internal/observe"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/pilot/admission"
	"github.com/heddle-mesh/heddle/pilot/discovery"
)

// heddled is the control plane, assembled.
type heddled struct {
	config     config
	log        *slog.Logger
	metrics    *observe.Metrics
	traces     *observe.Traces
	cluster    *cluster
	ca         *certificates
	pilot      *pilot
	completion *completion.Server
	injection  *injection
	injector   http.Handler
}

// run assembles the control plane and runs it until ctx ends.
func run(ctx context.Context, c config) error {
	if c.files.objects != "" {
		return runFiles(ctx, c)
	}
	h, err := assemble(ctx, c)
	if err != nil {
		return err
	}
	h.log.Info("heddled starts", "version", version, "pod", c.podName, "revision", revision.Label(c.revision), "trustDomain", c.trustDomain)
	return lifecycle.Run(ctx, h.components()...)
}

// observed is a control plane that can say what it does, and nothing else yet.
func observed(ctx context.Context, c config) (*heddled, error) {
	h := &heddled{config: c}
	var err error
	if h.log, err = observe.Logger(os.Stderr, c.logLevel); err != nil {
		return nil, err
	}
	quieten(h.log)
	if err := c.memory.Set(); err != nil {
		h.log.Warn("memory has no limit", "error", err)
	}
	if h.metrics, err = observe.NewMetrics("heddled", version); err != nil {
		return nil, err
	}
	h.traces, err = observe.NewTraces(ctx, c.traces, "heddled", version)
	return h, err
}

func assemble(ctx context.Context, c config) (*heddled, error) {
	h, err := observed(ctx, c)
	if err != nil {
		return nil, err
	}
	if h.cluster, err = connect(c.kubeconfig, c.revision); err != nil {
		return nil, err
	}
	if h.ca, err = newCertificates(ctx, c, h.cluster, h.log, h.metrics); err != nil {
		return nil, err
	}
	if h.pilot, err = newPilot(h); err != nil {
		return nil, err
	}
	h.ca.publisher.Closing = closing(h.cluster.writer, h.pilot.snapshot.Load)
	h.completion = newCompletion(h.cluster, h.ca.attestor, h.log.With("part", "completion"))
	h.injection = newInjection(c, h.cluster, h.pilot.injects.Load, h.log.With("part", "injector"))
	h.injector, err = h.injection.handler(h.metrics)
	return h, err
}

// components are in the order of their start: what is asked comes before who asks, and readiness is last. They stop the other way
// round, so that servers end before what they serve from.
func (h *heddled) components() []lifecycle.Component {
	state, at := &health{}, h.config.serve
	all := []lifecycle.Component{
		{Name: "spans", Run: func(ctx context.Context) error { return h.traces.Run(ctx, stopGrace) }},
		webServer{name: "health", address: at.health, handler: state.handler(), log: h.log}.component(),
		webServer{name: "monitoring", address: at.web, handler: h.monitoring(), log: h.log}.component(),
		{Name: "cache", Run: h.cluster.cache.Start},
		{Name: "completion", Run: h.completion.Run},
		{Name: "machines", Run: h.pilot.machines.registrar.Run},
	}
	all = append(all, h.pilot.components()...)
	all = append(all, lifecycle.Component{Name: "exchange", Run: h.pilot.exchange.Run},
		rpcServer("discovery", at.discovery, h.secureRPC()),
		webServer{name: "webhooks", address: at.webhooks, tls: h.ca.serving.WebhookTLS(), handler: h.webhooks(), log: h.log}.component())
	lead := &leader{kube: h.cluster.kube, namespace: h.config.namespace, lease: revision.Name(wire.LeaderElectionLease, h.config.revision),
		identity: h.config.podName, log: h.log.With("part", "leader"), writers: h.writers()}
	return append(all, lifecycle.Component{Name: "leader election", Run: lead.Run}, state.component())
}

// writers run while this replica leads its revision. What is one thing for the whole mesh, statuses and the published root, is written by the
// default revision alone; the replicas of the others tell its leader of their proxies.
func (h *heddled) writers() []lifecycle.Component {
	writers := []lifecycle.Component{{Name: "bundle", Run: h.ca.publisher.Run}, {Name: "machines", Run: h.pilot.machines.registrar.Lead}}
	if !revision.IsDefault(h.config.revision) {
		return writers
	}
	return append(writers, lifecycle.Component{Name: "status", Run: h.pilot.exchange.Lead(h.pilot.status.Run)},
		lifecycle.Component{Name: "addresses", Run: h.pilot.addresses.Run}, lifecycle.Component{Name: "events", Run: h.pilot.events.Run})
}

// secureRPC serves proxies: certificates, configuration, and the end of their pods.
func (h *heddled) secureRPC() *grpc.Server {
	server := newGRPC(h.ca.serving.DiscoveryTLS(), discovery.Encoding(), grpc.UnaryInterceptor(tracedCalls(h.traces.Tracer("rpc"))))
	h.ca.server.Register(server)
	h.pilot.discovery.Register(server)
	if h.completion != nil {
		h.completion.Register(server)
	}
	return server
}

func (h *heddled) webhooks() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(webhook.Path, h.injector)
	mux.Handle(admission.Path, admission.New(h.pilot.check, h.log.With("part", "admission")))
	return tracedRequests(h.traces.Tracer("webhooks"), mux)
}

func (h *heddled) monitoring() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h.metrics.Handler())
	mux.Handle("/debug/", loopback(h.pilot.debug()))
	mux.Handle("/debug/pprof/", loopback(profiles()))
	if h.injection != nil {
		mux.Handle("GET /debug/injection", loopback(http.HandlerFunc(h.injection.debug)))
	}
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, version) })
	return mux
}

// profiles answers go tool pprof: CPU time, heap and goroutines of this process.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return mux
}

// quieten sends what Kubernetes' libraries log through their globals the way of everything else.
func quieten(log *slog.Logger) {
	library := log.With("part", "kubernetes")
	klog.SetSlogLogger(library)
	ctrllog.SetLogger(logr.FromSlogHandler(library.Handler()))
}
