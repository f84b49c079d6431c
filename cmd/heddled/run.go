package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/webhook"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/internal/observe"
)

// run assembles the control plane and runs it until ctx ends. Servers stop before what they serve.
func run(ctx context.Context, c config) error {
	log, err := observe.Logger(os.Stderr, c.logLevel)
	if err != nil {
		return err
	}
	metrics, err := observe.NewMetrics("heddled", version)
	if err != nil {
		return err
	}
	traces, err := observe.NewTraces(ctx, c.traces, "heddled", version)
	if err != nil {
		return err
	}
	quieten(log)
	cl, err := connect(c.kubeconfig)
	if err != nil {
		return err
	}
	ca, err := newCertificates(ctx, c, cl, log, metrics)
	if err != nil {
		return err
	}
	log.Info("heddled starts", "version", version, "pod", c.podName, "trustDomain", c.trustDomain)

	secure := newGRPC(ca.serving.DiscoveryTLS())
	ca.server.Register(secure)

	monitoring := http.NewServeMux()
	monitoring.Handle("GET /metrics", metrics.Handler())
	monitoring.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, version) })
	webhooks := http.NewServeMux()
	injector, err := newInjection(c, cl, func() bool { return true }, log.With("part", "injector")).handler(metrics)
	if err != nil {
		return err
	}
	webhooks.Handle(webhook.Path, injector)
	state := &health{}
	lead := &leader{kube: cl.kube, namespace: c.namespace, identity: c.podName, log: log.With("part", "leader"),
		writers: []lifecycle.Component{{Name: "bundle", Run: ca.publisher.Run}}}

	return lifecycle.Run(ctx,
		lifecycle.Component{Name: "spans", Run: func(ctx context.Context) error { return traces.Run(ctx, stopGrace) }},
		webServer{name: "health", port: wire.PortHealth, handler: state.handler(), log: log}.component(),
		webServer{name: "monitoring", port: wire.PortMonitoring, handler: monitoring, log: log}.component(),
		cl.component(),
		rpcServer("discovery", wire.PortDiscovery, secure),
		webServer{name: "webhooks", port: wire.PortWebhook, tls: ca.serving.WebhookTLS(), handler: webhooks, log: log}.component(),
		lifecycle.Component{Name: "leader election", Run: lead.Run},
		state.component(),
	)
}

// quieten sends what Kubernetes' libraries log through their globals the way of everything else.
func quieten(log *slog.Logger) {
	library := log.With("part", "kubernetes")
	klog.SetSlogLogger(library)
	ctrllog.SetLogger(logr.FromSlogHandler(library.Handler()))
}
